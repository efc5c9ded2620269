"""Datasets of rows: files by split, or a pinned dataset of the hub.

Hub rows are brought into the shape of the local files first, so that one path leads to examples.
"""

import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import ClassVar

from distillkit.core.bounds import check_least
from distillkit.core.errors import DataError
from distillkit.core.types import Example, Split
from distillkit.datasets.base import Dataset, Gathered, Remark, about_prompts
from distillkit.datasets.folder import look_into, placed
from distillkit.datasets.formats import rows_of, stem
from distillkit.datasets.json_lines import Values
from distillkit.datasets.rows import Row, Source
from distillkit.datasets.shelf import Shelf, carves, listed

__all__ = ["Files", "Hub", "Row", "RowDataset", "Source", "SplitDataset", "any_files"]


@dataclass(frozen=True, slots=True)
class Files:
    """Files on disk; rows without an id are named by their file and position."""

    name: str
    """``dataset.path=...``."""
    files: Mapping[Split, Sequence[Path]]
    """Those of each split, in order."""
    beside: Sequence[str] = ()
    """Names of what lies in the same folder and is not read."""

    def splits(self) -> set[Split]:
        return set(self.files)

    def others(self) -> Sequence[str]:
        return self.beside

    def rows(self, split: Split) -> list[Row]:
        rows = []
        for file in self.files[split]:
            called = stem(file)
            for index, (number, values) in enumerate(rows_of(file)):
                given = values.get("id")
                # NaN, which no number equals, is how tables say that there is none.
                unnamed = given is None or given != given
                row_id = f"{called}-{index:05d}" if unnamed else str(given)
                rows.append(Row(self.name, row_id, values, (file, number)))
        return rows


@dataclass(frozen=True, slots=True)
class Hub:
    """A dataset of the Hugging Face hub at a revision."""

    repository: str
    """``openai/gsm8k``."""
    config: str | None
    """Its configuration, None for the only one."""
    asked: Mapping[Split, str]
    """What ``datasets`` is asked for: a name, a sum or a slice of the hub's splits."""
    revision: str
    """Commit hash, tag or branch."""
    normalise: Callable[[Values, str], Values]
    """Brings a hub row and its place (``train-00012``) into the local shape."""
    first: int | None = None
    """Rows that are read, each as it arrives; None downloads the whole dataset first."""

    @property
    def name(self) -> str:
        return f"{self.repository} at dataset.revision={self.revision}"

    def splits(self) -> set[Split]:
        return set(self.asked)

    def others(self) -> Sequence[str]:
        return ()

    def rows(self, split: Split) -> list[Row]:
        rows: list[Row] = []
        for index, values in enumerate(self._download(self.asked[split])):
            place = f"{split}-{index:05d}"
            try:
                local = self.normalise(values, place)
            except (KeyError, AttributeError, TypeError, ValueError, IndexError) as error:
                raise DataError(
                    f"{self.name}: row {place} has not the fields of this dataset ("
                    f"{type(error).__name__}: {error}); choose another revision."
                ) from error
            rows.append(Row(self.name, local["id"], local))
        return rows

    def _download(self, asked: str) -> Iterable[Values]:
        from datasets import load_dataset  # a second to import, and only the hub needs it
        from datasets.exceptions import DatasetsError

        about = {"name": self.config, "split": asked, "revision": self.revision}
        try:
            if self.first is None:
                return load_dataset(self.repository, **about)
            return list(
                load_dataset(self.repository, **about, streaming=True).take(
                    min(self.first, sys.maxsize)
                )
            )
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
        check_least(self, "dataset.", 1, *Split, hint=", or null for all")
        check_least(self, "dataset.", 0, "validation_share")

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
        carved = carves(there, self.validation_share)
        return there | ({Split.validation} if carved else set())

    def examples(self, split: Split) -> Sequence[Example]:
        return self.read([split]).examples[split]

    def read(self, splits: Sequence[Split]) -> Gathered:
        shelf = Shelf(self.source(), self.validation_share)
        examples: dict[Split, Sequence[Example]] = {}
        remarks = list[Remark]()
        for split in splits:
            rows = shelf.rows(split)[: getattr(self, split)]
            examples[split], said = self.made(rows, split)
            remarks += said
        remarks += about_prompts(examples.get(Split.train, ()))
        return Gathered(examples, [*shelf.remarks(splits), *remarks])

    def made(self, rows: Sequence[Row], split: Split) -> tuple[list[Example], Sequence[Remark]]:
        """The examples of rows of a split, with remarks on them."""
        return [self.example(row) for row in rows], ()


@dataclass(kw_only=True, slots=True)
class RowDataset(SplitDataset):
    """A published dataset: from ``path`` if given, else from the hub at ``revision``."""

    path: str | None = None
    """Folder with a file for each split; null reads the Hugging Face hub."""
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
        return files_at(self.path, self.FOLDER, "or dataset.path=null for the Hugging Face hub")


def files_at(path: str, required: Iterable[Split], otherwise: str) -> Files:
    """The files of a folder that has some for each split.

    Raises:
        DataError: there is no such folder, it lacks a required split, or has one twice.
    """
    name, place = f"dataset.path={path}", placed(path)
    if not place.is_dir():
        raise DataError(f"{name} is not a folder; give one of <split>.jsonl files, {otherwise}.")
    found = look_into(place, name=name)
    for split in required:
        if split not in found.splits:
            held = f" (it has {listed(found.others)})" if found.others else ""
            raise DataError(
                f"{name} has no {split}.jsonl{held}; give a folder that has it, {otherwise}."
            )
    return Files(name, found.splits, found.others)


def any_files(path: str, otherwise: str) -> Files:
    """A file, those that a pattern matches, or the files of a folder. What is no folder is train.

    Raises:
        DataError: nothing is there.
    """
    place = placed(path)
    if place.is_file():
        return Files(f"dataset.path={path}", {Split.train: [place]})
    matched = [] if place.exists() else [Path(file) for file in sorted(glob(str(place)))]
    files = [file for file in matched if file.is_file()]
    if files:
        return Files(f"dataset.path={path}", {Split.train: files})
    return files_at(path, (), otherwise)
