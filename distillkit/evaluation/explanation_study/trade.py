"""What students of language pay in recall for precision, by temperature and by divergence."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from distillkit.statistics.correlation import spearman
from distillkit.statistics.finding import Finding
from distillkit.statistics.paired import t_test


@dataclass(frozen=True, slots=True)
class Way:
    """How a student learns."""

    name: str
    tau: float | None
    """Of the text, where that is all it learns from."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One trained student; likelihoods are means of a token in nats."""

    way: Way
    seed: int
    precision: float
    """Of its samples under the truth."""
    recall: float
    """Of the truth's samples under it."""
    own_entropy: float
    """Of its distributions on its own samples."""

    def as_row(self) -> dict[str, Any]:
        """For a csv file."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        return {"way": self.way.name, "tau": self.way.tau, "seed": self.seed, **numbers}


NUMBERS = ("precision", "recall", "own_entropy")


def tabulated(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Mean and spread over seeds of each way."""
    rows = []
    for way in dict.fromkeys(each.way for each in measured):
        row: dict[str, Any] = {"way": way.name, "tau": way.tau}
        for name in NUMBERS:
            values = [getattr(each, name) for each in measured if each.way == way]
            row |= {f"{name}_mean": fmean(values), f"{name}_std": stdev(values)}
        rows.append(row)
    return rows


def by_temperature(measured: Sequence[Measured]) -> list[Finding]:
    """Rank correlations of the text's temperature with precision and with recall."""
    own = [each for each in measured if each.way.tau is not None]
    taus = [each.way.tau or 0.0 for each in own]
    unit = "(temperature, seed)"
    return [
        spearman(taus, [getattr(each, name) for each in own], unit=unit)
        for name in ("precision", "recall")
    ]


def above_the_curve(measured: Sequence[Measured]) -> list[tuple[str, Finding]]:
    """How much more precise other ways are than text of such a temperature that recall is equal.

    The curve of temperatures is that of the same seed, with straight lines between its points. A
    way whose recall lies outside of it on some seed is left out: nothing on the curve is like it.
    """
    found = []
    for way in dict.fromkeys(each.way for each in measured if each.way.tau is None):
        own = [each for each in measured if each.way == way]
        beside = [_precision_at(each, measured) for each in own]
        if all(np.isfinite(beside)):
            finding = t_test([each.precision for each in own], beside)
            found.append((way.name, finding))
    return found


def _precision_at(one: Measured, measured: Sequence[Measured]) -> float:
    """The curve's precision at the recall of a student; NaN outside of it."""
    curve = sorted(
        (each.recall, each.precision)
        for each in measured
        if each.seed == one.seed and each.way.tau is not None
    )
    recalls, precisions = zip(*curve, strict=True)
    return float(np.interp(one.recall, recalls, precisions, left=np.nan, right=np.nan))
