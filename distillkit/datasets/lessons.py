"""Lessons: what a teacher wrote for the training questions of another dataset (arXiv:2504.02521).

Beside a lessons file lies ``lessons.json``, which says of which dataset, with which settings. All
but the training texts is that dataset's own: prompts, the other splits, extraction and judge.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distillkit.core.bounds import check_least
from distillkit.core.errors import DataError, DistillkitError
from distillkit.core.files import write_json
from distillkit.core.spec import SPECS, discover_in, name_of, spec
from distillkit.core.types import Example, Split
from distillkit.datasets.base import Dataset
from distillkit.datasets.folder import placed
from distillkit.datasets.json_lines import Values, read_json_lines
from distillkit.datasets.source import Row

DESCRIPTION = "lessons.json"
"""File beside the lessons that names the dataset which they were written for."""


@spec("dataset/lessons")
class Lessons(Dataset):
    """The rows of a lessons file as the training split of the dataset that they were written for.

    A row has ``id``, ``question``, ``lesson`` and ``iteration``. Of several rows with one id, the
    first keeps it, and the later ones are called ``<id>@<iteration>``.
    """

    NOT_IN_FINGERPRINT: ClassVar = ("path",)
    """What was learnt is what the file says, wherever it lies."""

    path: str
    """A file of JSON lines with ``lessons.json`` beside it, as undo-iterate leaves them."""
    train: int | None = None
    """First lessons to use; null for all."""
    validation: int | None = None
    """First rows to use of the validation split of the lessons' dataset; null for all."""
    test: int | None = None
    """First rows to use of its test split; null for all."""

    def __post_init__(self) -> None:
        check_least(self, "dataset.", 1, *Split, hint=", or null for all")

    def examples(self, split: Split) -> Sequence[Example]:
        file = self._file
        if not file.is_file():
            raise DataError(
                f"dataset.path={self.path} is not a file; give one of the lessons that distillkit "
                "undo-iterate wrote."
            )
        base = self._base
        try:
            examples = base.examples(split)
        except DistillkitError as error:
            raise DataError(f"{file.parent / DESCRIPTION}: {error}") from error
        if split is Split.train:
            examples = self._taught(read_json_lines(file), examples)
        return examples[: getattr(self, split)]

    def digest(self) -> str:
        """Of the lessons and of what they were written for, whether or not they are there."""
        files = (self._file, self._file.parent / DESCRIPTION)
        read = sha256()
        for file in files:
            read.update(file.read_bytes() if file.is_file() else b"")
        return read.hexdigest()

    def splits(self) -> set[Split]:
        return self._base.splits()

    def extract(self, text: str) -> str | None:
        return self._base.extract(text)

    def stated(self, example: Example, text: str) -> str | None:
        return self._base.stated(example, text)

    def is_correct(self, example: Example, text: str) -> bool:
        return self._base.is_correct(example, text)

    @property
    def _file(self) -> Path:
        return placed(self.path).absolute()

    @property
    def _base(self) -> Dataset:
        return written_for(self._file.parent)

    def _taught(self, rows: Sequence[Values], questions: Sequence[Example]) -> list[Example]:
        """The examples of all rows, in their order."""
        origin = f"dataset.path={self.path}"
        if not rows:
            raise DataError(f"{origin} has no lesson; give a file that has some.")
        known = {example.id: example for example in questions}
        taught: dict[str, Example] = {}
        seen: set[tuple[str, str]] = set()
        for number, values in enumerate(rows, 1):
            row = Row(origin, str(values.get("id", f"number {number}")), values)
            example = _example(row, known)
            iteration = row.optional("iteration")
            if (example.id, iteration) in seen:
                raise row.error(f"comes twice for iteration={iteration or None}")
            seen.add((example.id, iteration))
            name = f"{example.id}@{iteration}" if example.id in taught else example.id
            taught[name] = replace(example, id=name, reference=row.text("lesson"))
        return list(taught.values())


def _example(row: Row, known: dict[str, Example]) -> Example:
    """The training example that a row is a lesson for."""
    for field in ("id", "lesson"):
        if not row.optional(field).strip():
            raise row.error(f"has no {field}")
    example = known.get(row.id)
    if example is None:
        raise row.error(f"is no training question of the dataset that {DESCRIPTION} names")
    if row.optional("question") not in ("", example.question):
        raise row.error(
            f"has another question than that dataset, whose settings in {DESCRIPTION} or whose "
            "files must have changed"
        )
    return example


def describe(folder: Path, dataset: Dataset) -> None:
    """Write ``lessons.json``: for which dataset the lessons of a folder are."""
    values = {"dataset": name_of(dataset), "fields": asdict(dataset)}
    write_json(folder / DESCRIPTION, values)
    written_for.cache_clear()


@lru_cache(maxsize=16)
def written_for(folder: Path) -> Dataset:
    """The dataset that :func:`describe` was given for this folder.

    Raises:
        DataError: the folder does not say, or this version has no such dataset.
    """
    file = folder / DESCRIPTION
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return _rebuilt(values["dataset"], values["fields"])
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}), so nobody knows which dataset the lessons "
            "are for; copy it from where undo-iterate wrote them."
        ) from error
    except (KeyError, TypeError, ValueError, OmegaConfBaseException) as error:
        said = str(error).splitlines()[0]
        raise DataError(
            f"{file} describes no dataset of this version ({said}); mend it."
        ) from error


def _rebuilt(name: str, fields: dict[str, Any]) -> Dataset:
    # The schema brings enums and numbers back from JSON, and refuses what it does not know.
    discover_in("distillkit.datasets")
    merged = OmegaConf.merge(OmegaConf.structured(SPECS[f"dataset/{name}"]), fields)
    found = OmegaConf.to_object(merged)
    assert isinstance(found, Dataset)
    return found
