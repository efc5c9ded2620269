"""Power laws that are fitted to cells: y = floor + scale * (x / smallest x) ** -exponent.

Everything is a profile over the exponent: no starting values, no local minimum. Intervals are
regions of the likelihood, cut where the F distribution says (Bates and Watts, Nonlinear Regression,
1988, section 6.1); a number's interval is what it takes on inside, however crooked the region.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar

from distillkit.core.errors import DataError
from distillkit.statistics.arrays import Array, numbers
from distillkit.statistics.profile import Form, Profile
from distillkit.statistics.spread import Spread, spread_of

POINTS = 161
"""Exponents that are looked at first, and again inside of the region."""
FLATTEST, STEEPEST = 0.02, 7.0
"""In powers of e: least that a law falls between all sizes, most between neighbouring ones."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and its 95 % interval; None where the data set no bound."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A law with all that the data leave open about it."""

    form: Form
    exponent: Interval
    scale: Interval
    """What the smallest size has above the floor."""
    floor: Interval
    """0 without one."""
    spread: Spread
    """Of seeds, and what intervals are made of."""
    region: "Region"

    def at(self, x: ArrayLike) -> Array:
        """The law at sizes [k]."""
        terms = self.region.profile.terms(np.array([self.exponent.value]), numbers(x))
        return terms[0] @ np.array([self.floor.value, self.scale.value])

    def band(self, x: ArrayLike) -> tuple[Array, Array]:
        """Both ends of the law's interval at sizes [k]."""
        ends = np.array([self.region.at(float(each)) for each in numbers(x)])
        return ends[:, 0], ends[:, 1]

    def predicted(self, x: float, *, seeds: int) -> Interval:
        """The mean of so many new seeds at a size, with its prediction interval."""
        value = float(self.at([x])[0])
        if not self.spread.square:
            return Interval(value, None, None)
        low, high = self.region.at(x)
        noise = self.spread.quantile * self.spread.variance(np.array([value]))[0] / seeds
        below, above = (float(np.hypot(value - end, np.sqrt(noise))) for end in (low, high))
        return Interval(value, max(0.0, value - below), value + above)


@dataclass(frozen=True, slots=True)
class Region:
    """Exponents [k] and, for each, floors and scales whose squares stay below a limit."""

    profile: Profile
    exponents: Array
    limit: float

    def reach(self, floor: float, scale: float) -> tuple[float, float]:
        """Both ends of so many floors and so many scales."""
        target = np.tile([floor, scale], (len(self.exponents), 1)).astype(np.float64)
        return self.profile.reach(self.exponents, target, limit=self.limit)

    def at(self, x: float) -> tuple[float, float]:
        """Both ends of the law at a size."""
        target = self.profile.terms(self.exponents, np.array([x]))[:, 0]
        return self.profile.reach(self.exponents, target, limit=self.limit)


def fit(x: ArrayLike, values: Sequence[ArrayLike], *, form: Form) -> PowerLaw:
    """Fit a law to cells.

    Args:
        x: sizes [n], all different and above 0.
        values: of each size, what each seed has.
        form: with or without a floor.

    Raises:
        DataError: fewer than three sizes, a size twice or not above 0, a size with fewer than two
            seeds, or a value that is negative or not finite.
    """
    sizes, cells = _checked(x, values)
    inside = spread_of(cells)
    means = np.array([cell.mean() for cell in cells])
    weights = np.array([len(cell) for cell in cells]) / inside.relative(means)
    profile = Profile(form, sizes, means, weights)
    tried = _tried(sizes, form)
    best, left = _least(profile, tried)
    spread = inside.around(left, cells=len(sizes), parameters=3 if form is Form.floor else 2)
    limit = left + spread.square * spread.quantile
    (floor, scale), _ = (each[0] for each in profile.best(np.array([best])))
    if not spread.square:
        blank = Region(profile, np.array([best]), limit)
        told = [Interval(float(each), None, None) for each in (best, scale, floor)]
        return PowerLaw(form, told[0], told[1], told[2], spread, blank)
    low, high = _ends(profile, tried, best, limit)
    exponents = np.unique([*np.linspace(low, high, POINTS), best])
    region = Region(profile, exponents, limit)
    least = None if form is Form.plain else 0.0
    return PowerLaw(
        form,
        Interval(best, low if low > tried[0] else least, high if high < tried[-1] else None),
        Interval(float(scale), *region.reach(0, 1)),
        Interval(float(floor), *region.reach(1, 0)),
        spread,
        region,
    )


def _checked(x: ArrayLike, values: Sequence[ArrayLike]) -> tuple[Array, list[Array]]:
    sizes, cells = numbers(x), [numbers(cell) for cell in values]
    if len(set(sizes)) < max(3, len(sizes)) or (sizes <= 0).any():
        raise DataError(
            f"a power law takes three sizes or more, all different and above 0, got {sizes}"
        )
    if len(cells) != len(sizes) or min(map(len, cells)) < 2:
        raise DataError(
            "a power law takes two seeds or more at each size, got "
            f"{[len(cell) for cell in cells]} at {len(sizes)} sizes"
        )
    if any((cell < 0).any() for cell in cells):
        raise DataError("a power law takes values that are not negative")
    return sizes, cells


def _tried(sizes: Array, form: Form) -> Array:
    """Exponents in order; without a floor a law may rise, too."""
    logs = np.sort(np.log(sizes))
    falling = np.geomspace(FLATTEST / (logs[-1] - logs[0]), STEEPEST / np.diff(logs).min(), POINTS)
    return falling if form is Form.floor else np.array([*-falling[::-1], 0.0, *falling])


def _least(profile: Profile, tried: Array) -> tuple[float, float]:
    """The best exponent and its squares."""
    squares = profile.best(tried)[1]
    at = int(squares.argmin())
    between = tried[max(at - 1, 0)], tried[min(at + 1, len(tried) - 1)]
    found = minimize_scalar(
        partial(_squares, profile), bounds=between, method="bounded", options={"xatol": 1e-9}
    )
    if found.fun < squares[at]:
        return float(found.x), float(found.fun)
    return float(tried[at]), float(squares[at])


def _ends(profile: Profile, tried: Array, best: float, limit: float) -> tuple[float, float]:
    """Outermost exponents below the limit; as far as was tried where nothing stops them."""
    tried = np.sort([*tried, best])
    below = np.flatnonzero(profile.best(tried)[1] <= limit)
    first, last = int(below[0]), int(below[-1])

    def above(exponent: float) -> float:
        return _squares(profile, exponent) - limit

    low = brentq(above, *tried[first - 1 : first + 1]) if first else tried[0]
    high = brentq(above, *tried[last : last + 2]) if last + 1 < len(tried) else tried[-1]
    return float(low), float(high)


def _squares(profile: Profile, exponent: float) -> float:
    return float(profile.best(np.array([exponent]))[1][0])
