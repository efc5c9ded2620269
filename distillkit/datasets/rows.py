"""Rows, which can say where they come from when they lack something, and sources of them."""

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distillkit.core.errors import DataError
from distillkit.core.types import Split
from distillkit.datasets.json_lines import Values

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlist = _SHORT.maxdict = 2


def shown(value: object) -> str:
    """A value as Python writes it, short enough for a sentence."""
    return _SHORT.repr(value)


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    origin: str
    """The source as the user types it, ``dataset.path=data/gsm8k``."""
    id: str
    """Unique inside the dataset."""
    values: Values
    """Its fields."""
    place: tuple[Path, int] | None = None
    """Its file, and its line or position in it from 1; None where it has no file."""

    def value(self, field: str) -> Any:
        """A field as it stands; None where it is missing, null, NaN or infinite."""
        value = self.values.get(field)
        return None if type(value) is float and not math.isfinite(value) else value

    def text(self, field: str) -> str:
        """A field that must be there, as text."""
        value = self.values.get(field)
        if type(value) is str:
            return value
        value = self.value(field)
        if value is None:
            raise self.error(f"has no {field}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(f"has {field}={shown(value)}, which is not text")
        return str(value)

    def question(self, field: str) -> str:
        """A field that must be there and must ask something."""
        return self.filled(field, so="there is nothing to ask")

    def filled(self, field: str, *, so: str) -> str:
        """A field that must be there and hold more than white space; ``so`` is said if not."""
        text = self.text(field)
        if not text.strip():
            raise self.error(f"has an empty {field}, so {so}")
        return text

    def optional(self, field: str) -> str:
        """A field as text, or "" where it is missing or null."""
        return "" if self.value(field) is None else self.text(field)

    def answer(self, field: str) -> str:
        """A field that must be there, as a reference: "" where it is null or white space alone."""
        if field not in self.values:
            raise self.error(f"has no {field}")
        text = self.optional(field)
        return text if text.strip() else ""

    def error(self, complaint: str, *, otherwise: str = "leave it out") -> DataError:
        """A sentence that names the source, the row and its place, and the way out."""
        where = f" ({self.place[0].name}:{self.place[1]})" if self.place else ""
        return DataError(
            f"{self.origin}: row {self.id} {complaint}; mend the row{where} or {otherwise}."
        )


class Source(Protocol):
    """Where rows come from."""

    @property
    def name(self) -> str:
        """As the user types it, for messages."""

    def splits(self) -> set[Split]:
        """The splits that are there."""

    def rows(self, split: Split) -> list[Row]:
        """All rows of a split that is there, in their order."""

    def others(self) -> Sequence[str]:
        """Names of files that lie beside those that are read."""
