"""The rows of a source by split, each read once, with stand-ins for splits never published."""

from collections.abc import Sequence

from distillkit.core.errors import DataError
from distillkit.core.types import Split
from distillkit.datasets.base import Remark
from distillkit.datasets.rows import Row, Source

NAMED = 5
"""Files that are named before the rest is counted."""


def carves(there: set[Split], share: int) -> bool:
    """Whether validation is cut from train."""
    return share > 0 and Split.train in there and Split.validation not in there


def listed(names: Sequence[str]) -> str:
    """Names in a row, the rest of many as a number."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(name[:80] for name in names[:NAMED]) + more


class Shelf:
    """Rows by split.

    Args:
        source: where they come from.
        share: last rows of train that are validation where there is no such split.
    """

    def __init__(self, source: Source, share: int) -> None:
        self._source, self._there = source, source.splits()
        self._share = share if carves(self._there, share) else 0
        self._read: dict[Split, list[Row]] = {}

    def rows(self, split: Split) -> list[Row]:
        """Rows of a split, or of what stands in for it.

        Raises:
            DataError: it is not there, is empty, has an id twice, or nothing is left of it.
        """
        if split is Split.test and self._stands_in():
            split = Split.validation
        if split is Split.validation and self._share:
            return self._whole(Split.train)[-self._share :]
        if split is Split.train and self._share:
            return self._whole(split)[: -self._share]
        if split in self._there:
            return self._whole(split)
        carve = "set dataset.validation_share, " if Split.train in self._there else ""
        others = self._source.others()
        beside = f" (not read there: {listed(others)})" if others else ""
        raise DataError(
            f"{self._source.name} has no {split} split{beside}; {carve}choose another dataset for "
            f"it, or give a folder with {split}.jsonl as dataset.path."
        )

    def remarks(self, splits: Sequence[Split]) -> list[Remark]:
        """What is to be said of splits whose rows were asked for."""
        name, said = self._source.name, []
        if others := self._source.others():
            said.append(
                Remark(
                    f"{name} has files that are not read: {listed(others)}",
                    "Name them train, valid or test with an ending that is read, or move them away",
                )
            )
        if self._share:
            count = len(self._whole(Split.train))
            said.append(
                Remark(
                    f"the last {self._share} of {count} training rows are validation and are not "
                    f"trained on, because {name} has no validation split",
                    "Lower dataset.validation_share to train on more"
                    if 2 * self._share > count
                    else "",
                )
            )
        if Split.test in splits and self._stands_in():
            said.append(
                Remark(
                    f"validation is also test, because {name} has no test split: what is chosen on "
                    "it cannot be reported on it"
                )
            )
        return said

    def _stands_in(self) -> bool:
        """Whether validation is test too."""
        validated = self._share or Split.validation in self._there
        return Split.test not in self._there and bool(validated)

    def _whole(self, split: Split) -> list[Row]:
        """Rows of a split that is there: unlike ids, and more rows than are kept for validation."""
        if split not in self._read:
            keep = self._share if split is Split.train else 0
            self._read[split] = _checked(self._source, split, keep=keep)
        return self._read[split]


def _checked(source: Source, split: Split, *, keep: int) -> list[Row]:
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
