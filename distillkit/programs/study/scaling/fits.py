"""Laws along each axis, and what those of the smaller cells foretell of the largest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distillkit.programs.study.scaling.grid import Axis, along
from distillkit.run_studies import LEAST_SIZES, Measured
from distillkit.statistics.power_law import Interval, PowerLaw, fit
from distillkit.statistics.profile import Form

PUBLISHED = {Axis.parameters: 0.34, Axis.labels: 0.28, Axis.steps: 0.28}
"""Exponents of pre-training loss with a floor in parameters and in tokens (arXiv:2203.15556, its
third approach). Of distilled students no exponent was at hand."""

POINTS = 60
"""Of a law in laws.csv."""


@dataclass(frozen=True, slots=True)
class Line:
    """The cells of a method along an axis, and a law of one form."""

    axis: Axis
    method: str
    sizes: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    """Of each size, what each seed has."""
    law: PowerLaw
    earlier: PowerLaw | None
    """The same of all sizes but the largest; None where too few are left."""

    @property
    def told(self) -> Interval | None:
        """The largest cell as the smaller ones foretell it."""
        if self.earlier is None:
            return None
        return self.earlier.predicted(self.sizes[-1], seeds=len(self.values[-1]))

    def row(self, of: Measured) -> dict[str, Any]:
        """What fits.csv has of it."""
        law, spread = self.law, self.law.spread
        published = of is Measured.nll and law.form is Form.floor
        return {
            "axis": str(self.axis),
            "method": self.method,
            "form": str(law.form),
            "sizes": len(self.sizes),
            "seeds": spread.seeds,
            **_named("exponent", law.exponent),
            "exponent_published": PUBLISHED[self.axis] if published else None,
            **_named("scale", law.scale),
            **_named("floor", law.floor),
            "spread_power": spread.power,
            "degrees_of_freedom": spread.free,
            **self._foretold(),
        }

    def _foretold(self) -> dict[str, Any]:
        told, last = self.told, np.array(self.values[-1])
        seen, apart = float(last.mean()), float(last.std(ddof=1))
        blank = told is None
        error = None if told is None else told.value - seen
        inside = None
        if told is not None and told.low is not None and told.high is not None:
            inside = bool(told.low <= seen <= told.high)
        return {
            "largest": self.sizes[-1],
            **_named("foretold", Interval(float("nan"), None, None) if told is None else told),
            "seen": None if blank else seen,
            "seen_spread": None if blank else apart,
            "error": error,
            "error_relative": error / seen if error is not None and seen else None,
            "error_in_spreads": error / apart if error is not None and apart else None,
            "inside": inside,
        }


def lines_of(rows: Sequence[dict[str, Any]]) -> list[Line]:
    """Laws of both forms for every method and every axis of three sizes or more.

    Raises:
        DataError: values that no law can be fitted to.
    """
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        for axis in Axis:
            cells = along(own, axis)
            sizes = sorted({row[axis] for row in cells if row[axis] is not None})
            if len(sizes) < LEAST_SIZES:
                continue
            values = [[row["value"] for row in cells if row[axis] == size] for size in sizes]
            found += [_line(axis, method, sizes, values, form) for form in Form]
    return found


def _line(
    axis: Axis, method: str, sizes: list[float], values: list[list[float]], form: Form
) -> Line:
    earlier = None
    if len(sizes) > LEAST_SIZES:
        earlier = fit(sizes[:-1], values[:-1], form=form)
    law = fit(sizes, values, form=form)
    return Line(axis, method, tuple(sizes), tuple(map(tuple, values)), law, earlier)


def drawn(line: Line) -> list[dict[str, Any]]:
    """The law and the ends of its interval from the smallest size to the largest, for laws.csv."""
    places = np.geomspace(line.sizes[0], line.sizes[-1], POINTS)
    low, high = line.law.band(places)
    return [
        {
            "axis": str(line.axis),
            "method": line.method,
            "form": str(line.law.form),
            "size": float(place),
            "law": float(value),
            "low": float(below),
            "high": float(above),
        }
        for place, value, below, above in zip(places, line.law.at(places), low, high, strict=True)
    ]


def _named(name: str, interval: Interval) -> dict[str, float | None]:
    value = None if np.isnan(interval.value) else interval.value
    return {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}
