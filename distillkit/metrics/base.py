"""What every metric is: records of single examples, and numbers made of many of them.

A metric never averages averages. It takes a record of each example, records are joined, and the
numbers come from all records at once, so they are the same however the examples were split.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any, ClassVar

import numpy as np

from distillkit.metrics.evidence import Evidence

SLOW_ROUNDS = 200
"""Rounds for a metric that has to be computed anew from all records."""

Record = Mapping[str, Any]
"""What one example contributes, in JSON's types."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Records by example id; the empty one is ``Tally()``."""

    records: Mapping[str, Record] = field(default_factory=dict)

    def merge(self, other: "Tally") -> "Tally":
        """Both sets of examples together; exact under any sharding.

        Raises:
            ValueError: an example is in both, so that it would count twice.
        """
        twice = self.records.keys() & other.records.keys()
        if twice:
            raise ValueError(f"{min(twice)} is in both tallies")
        return Tally({**self.records, **other.records})


@dataclass(kw_only=True, slots=True)
class Metric(ABC):
    """One or several numbers about a model, from evidence."""

    COMPARES: ClassVar[bool] = False
    """Whether its evidence takes a teacher."""

    def empty(self) -> Tally:
        """No example yet."""
        return Tally()

    @abstractmethod
    def measure(self, evidence: Evidence) -> Tally:
        """A record of every example that the metric applies to."""

    @abstractmethod
    def compute(self, records: Sequence[Record]) -> dict[str, float]:
        """The numbers, in the order in which they are to be shown.

        Left out where no record bears on a number. The order of records does not matter.
        """

    def curves(self, records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
        """Points to be drawn: of each picture its columns by name, all of one length."""
        return {}

    def redrawn(
        self, records: Sequence[Record], counts: np.ndarray
    ) -> Iterable[Mapping[str, float]]:
        """The numbers with each record counted as often as a row of counts [R, n] says.

        By computing them anew, for the first ``SLOW_ROUNDS`` rows; a metric that knows a quicker
        way overrides it and takes all.
        """
        for row in counts[:SLOW_ROUNDS].tolist():
            drawn = zip(records, row, strict=True)
            yield self.compute([record for record, times in drawn for _ in range(times)])


@dataclass(kw_only=True, slots=True)
class Sums(Metric):
    """A metric that depends on its records' sums alone: a record maps names to lists of numbers."""

    def compute(self, records: Sequence[Record]) -> dict[str, float]:
        return self.finish(sums_of(records))

    @abstractmethod
    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The numbers from the sum of each name's lists; shorter lists end in zeros."""


@dataclass(kw_only=True, slots=True)
class Ratios(Sums):
    """Means: a record maps each number's name to [sum, weight], and the number is sum over weight.

    A mean over examples has weight 1 each, one over tokens the number of tokens.
    """

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        return {name: float(total / weight) for name, (total, weight) in sums.items() if weight}


def sums_of(records: Iterable[Record]) -> dict[str, np.ndarray]:
    """The sum of each name's lists; shorter lists end in zeros."""
    columns: dict[str, list[Sequence[float]]] = {}
    for record in records:
        for name, values in record.items():
            columns.setdefault(name, []).append(values)
    return {name: _exact_sum(rows) for name, rows in columns.items()}


def _exact_sum(rows: Iterable[Sequence[float]]) -> np.ndarray:
    """Sums of each place, rounded once, so that the order of rows does not matter."""
    rows = list(rows)
    width = max(map(len, rows))
    padded = [[*row, *[0.0] * (width - len(row))] for row in rows]
    return np.array([fsum(column) for column in zip(*padded, strict=True)])
