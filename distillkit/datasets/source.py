"""Datasets of rows: a folder of ``<split>.jsonl`` files, or a pinned dataset of the hub.

Hub rows are brought into the shape of the local files first, so that one path leads to examples.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Example, Split
from distillkit.datasets.base import Dataset
from distillkit.datasets.json_lines import Values, read_json_lines


@dataclass(frozen=True, slots=True)
class Row:
    """One row, which can say where it comes from when it lacks something.

    Attributes:
        origin: the source as the user types it, ``dataset.path=data/gsm8k``.
        id: unique inside the dataset.
        values: its fields.
    """

    origin: str
    id: str
    values: Values

    def text(self, field: str) -> str:
        """A field that must be there, as text."""
        value = self.values.get(field)
        if value is None:
            raise self.error(f"has no {field}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(f"has {field}={value!r}, which is not text")
        return str(value)

    def question(self, field: str) -> str:
        """A field that must be there and must ask something."""
        text = self.text(field)
        if not text.strip():
            raise self.error(f"has an empty {field}, so there is nothing to ask")
        return text

    def optional(self, field: str) -> str:
        """A field as text, or "" where it is missing or null."""
        return "" if self.values.get(field) is None else self.text(field)

    def error(self, complaint: str) -> DataError:
        """A sentence that names the source and the row."""
        return DataError(f"{self.origin}: row {self.id} {complaint}; mend the row or leave it out.")


class Source(Protocol):
    """Where rows come from."""

    @property
    def name(self) -> str:
        """As the user types it, for messages."""

    def splits(self) -> set[Split]:
        """The splits that are there."""
        ...

    def rows(self, split: Split) -> list[Row]:
        """All rows of a split that is there, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """JSON lines on disk; rows without an id are named by their file and position.

    Attributes:
        name: ``dataset.path=...``.
        files: the file of each split.
    """

    name: str
    files: Mapping[Split, Path]

    def splits(self) -> set[Split]:
        return set(self.files)

    def rows(self, split: Split) -> list[Row]:
        file, rows = self.files[split], []
        for index, values in enumerate(read_json_lines(file)):
            given = values.get("id")
            row_id = f"{file.stem}-{index:05d}" if given is None else str(given)
            rows.append(Row(self.name, row_id, values))
        return rows


@dataclass(frozen=True, slots=True)
class Hub:
    """A dataset of the Hugging Face hub at a revision.

    Attributes:
        repository: ``openai/gsm8k``.
        config: its configuration, None for the only one.
        asked: what ``datasets`` is asked for: a name, a sum or a slice of the hub's splits.
        revision: commit hash, tag or branch.
        normalise: brings a hub row and its place (``train-00012``) into the local shape.
        first: rows that are read, each as it arrives; None downloads the whole dataset first.
    """

    repository: str
    config: str | None
    asked: Mapping[Split, str]
    revision: str
    normalise: Callable[[Values, str], Values]
    first: int | None = None

    @property
    def name(self) -> str:
        return f"{self.repository} at dataset.revision={self.revision}"

    def splits(self) -> set[Split]:
        return set(self.asked)

    def rows(self, split: Split) -> list[Row]:
        rows: list[Row] = []
        for index, values in enumerate(self._download(self.asked[split])):
            values = self.normalise(values, f"{split}-{index:05d}")
            rows.append(Row(self.name, values["id"], values))
        return rows

    def _download(self, asked: str) -> Iterable[Values]:
        from datasets import load_dataset  # a second to import, and only the hub needs it
        from datasets.exceptions import DatasetsError

        about = {"name": self.config, "split": asked, "revision": self.revision}
        try:
            if self.first is None:
                return load_dataset(self.repository, **about)
            return list(load_dataset(self.repository, **about, streaming=True).take(self.first))
        except (OSError, ValueError, DatasetsError) as error:
            reason = str(error).strip().split("\n")[0]
            raise DataError(
                f"{self.name} could not be read from the Hugging Face hub ({reason}); check the "
                "connection and the revision, or give a local folder as dataset.path."
            ) from error


@dataclass(kw_only=True, slots=True)
class SplitDataset(Dataset):
    """Rows by split, with caps, and with stand-ins for splits that were never published.

    Without a validation split, the last ``validation_share`` rows of train are validation and are
    left out of train. Without a test split, **validation is also test**, with the same ids: what
    is chosen on it cannot be reported on it. Caps are applied after that, so they move no row
    from one split to another.
    """

    train: int | None = None
    """First rows of the training split to use; null for all."""
    validation: int | None = None
    """First rows of the validation split to use; null for all."""
    test: int | None = None
    """First rows of the test split to use; null for all."""
    validation_share: int = 500
    """Last rows of train that become validation where there is no such split; 0 for none."""

    def __post_init__(self) -> None:
        for split in Split:
            cap = getattr(self, split)
            if cap is not None and cap < 1:
                raise ConfigError(f"dataset.{split}={cap} must be at least 1, or null for all.")
        if self.validation_share < 0:
            raise ConfigError(
                f"dataset.validation_share={self.validation_share} must be at least 0."
            )

    @abstractmethod
    def source(self) -> Source:
        """Where the rows come from, looked up anew at each call."""

    @abstractmethod
    def example(self, row: Row) -> Example:
        """The example of a row.

        Raises:
            DataError: the row lacks a field, or a field makes no sense.
        """

    def splits(self) -> set[Split]:
        there = self.source().splits()
        carved = _carves(there, self.validation_share)
        return there | ({Split.validation} if carved else set())

    def examples(self, split: Split) -> Sequence[Example]:
        rows = _rows(self.source(), split, self.validation_share)
        return [self.example(row) for row in rows[: getattr(self, split)]]


@dataclass(kw_only=True, slots=True)
class RowDataset(SplitDataset):
    """A published dataset: from ``path`` if given, else from the hub at ``revision``."""

    path: str | None = None
    """Folder of ``<split>.jsonl`` files; null reads the Hugging Face hub."""
    revision: str = "main"
    """Commit of the hub dataset. A branch name may bring other rows tomorrow."""

    HUB: ClassVar[tuple[str, str | None]]
    """Repository and configuration on the hub."""
    HUB_SPLITS: ClassVar[Mapping[Split, str]]
    """What the hub is asked for, of the splits it has."""
    FOLDER: ClassVar[tuple[Split, ...]]
    """Splits that a local folder must have; it may have others."""

    @abstractmethod
    def normalise(self, values: Values, place: str) -> Values:
        """A hub row in the shape of the local files; ``place`` is its split and position."""

    def source(self) -> Source:
        if self.path is None:
            return Hub(*self.HUB, self.HUB_SPLITS, self.revision, self.normalise)
        return folder(self.path, self.FOLDER, "or dataset.path=null for the Hugging Face hub")


def folder(path: str, required: Iterable[Split], otherwise: str) -> Files:
    """The files of a folder that has one for each split it has.

    Raises:
        DataError: there is no such folder, or it lacks a required file.
    """
    place = Path(path).expanduser()
    if not place.is_dir():
        raise DataError(
            f"dataset.path={path} is not a folder; give one of <split>.jsonl files, {otherwise}."
        )
    files = {split: place / f"{split}.jsonl" for split in Split}
    there = {split: file for split, file in files.items() if file.is_file()}
    for split in required:
        if split not in there:
            raise DataError(
                f"dataset.path={path} has no {split}.jsonl; give a folder that has it, {otherwise}."
            )
    return Files(f"dataset.path={path}", there)


def _rows(source: Source, split: Split, share: int) -> list[Row]:
    """Rows of a split, or of what stands in for it."""
    there = source.splits()
    carved = _carves(there, share)
    if split is Split.test and split not in there and (carved or Split.validation in there):
        split = Split.validation
    if split is Split.validation and carved:
        return _checked(source, Split.train, keep=share)[-share:]
    if split is Split.train and carved:
        return _checked(source, split, keep=share)[:-share]
    if split in there:
        return _checked(source, split, keep=0)
    carve = "set dataset.validation_share, " if Split.train in there else ""
    raise DataError(
        f"{source.name} has no {split} split; {carve}choose another dataset for it, or give a "
        f"folder with {split}.jsonl as dataset.path."
    )


def _carves(there: set[Split], share: int) -> bool:
    """Whether validation is cut from train."""
    return share > 0 and Split.train in there and Split.validation not in there


def _checked(source: Source, split: Split, *, keep: int) -> list[Row]:
    """Rows of a split that is there: unlike ids, and more rows than are kept for validation."""
    rows = source.rows(split)
    if not rows:
        raise DataError(f"{source.name} has an empty {split} split; give one with rows.")
    if len(rows) <= keep:
        raise DataError(
            f"dataset.validation_share={keep} leaves nothing of the {len(rows)} {split} rows of "
            f"{source.name}; choose a smaller number."
        )
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise row.error(f"of the {split} split has an id that came before")
        seen.add(row.id)
    return rows
