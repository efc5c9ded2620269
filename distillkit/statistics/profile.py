"""Weighted squares of power laws as a profile over the exponent (Golub and Pereyra, 1973).

Given the exponent, y = floor + scale * (x / smallest x) ** -exponent is linear in floor and scale.
Neither is ever negative: the best law is the best of those in which both, one or the other is
free, and so are the ends of a region.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from distillkit.statistics.arrays import Array


class Form(StrEnum):
    """What a law tends to as x grows: a floor, or nothing."""

    floor = "floor"
    plain = "plain"


FREE = {Form.floor: ([0, 1], [1], [0]), Form.plain: ([1],)}
"""Which of floor and scale are free, the others 0."""


class Solved(NamedTuple):
    """The best law of each exponent, before anything is said about signs."""

    law: Array
    """Floor and scale [k, 2]."""
    squares: Array
    """[k]."""
    inverse: Array
    """Of the normal matrix [k, 2, 2]."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Cells that laws are held against; arrays are [n]."""

    form: Form
    x: Array
    mean: Array
    weight: Array
    """Of a mean: its seeds over the relative variance of one."""

    def terms(self, exponents: Array, x: Array) -> Array:
        """What floor and scale are multiplied by, for exponents [k] and sizes [m]: [k, m, 2]."""
        falls = np.exp(-np.outer(exponents, np.log(x / self.x.min())))
        return np.stack([np.ones_like(falls), falls], -1)

    def best(self, exponents: Array) -> tuple[Array, Array]:
        """Floor and scale [k, 2] of the best law of each exponent, and its squares [k]."""
        solved = list(self._solved(exponents))
        allowed = [np.where((each.law >= 0).all(1), each.squares, np.inf) for each in solved]
        chosen = np.argmin(allowed, 0)
        laws = np.stack([each.law for each in solved])
        return laws[chosen, np.arange(len(chosen))], np.min(allowed, 0)

    def reach(self, exponents: Array, target: Array, *, limit: float) -> tuple[float, float]:
        """Least and most of a combination of floor and scale where squares stay below a limit.

        Args:
            exponents: inside of the region [k].
            target: what floor and scale are multiplied by [k, 2].
            limit: of the squares.
        """
        found = []
        for solved in self._solved(exponents):
            towards = np.einsum("kij,kj->ki", solved.inverse, target)
            length = np.sqrt(np.einsum("ki,ki->k", towards, target))
            slack = np.sqrt(np.maximum(limit - solved.squares, 0))
            step = towards * (slack / np.where(length > 0, length, 1))[:, None]
            for law in (solved.law - step, solved.law + step):
                inside = (solved.squares <= limit) & (law >= 0).all(1)
                found.append((law * target).sum(1)[inside])
        every = np.concatenate(found)
        return float(every.min()), float(every.max())

    def _solved(self, exponents: Array) -> Iterator[Solved]:
        terms = self.terms(exponents, self.x)
        for free in FREE[self.form]:
            own = terms[:, :, free]
            weighed = own * self.weight[:, None]
            inverse = np.linalg.inv(np.einsum("kni,knj->kij", weighed, own))
            part = np.einsum("kij,knj,n->ki", inverse, weighed, self.mean)
            left = self.mean - np.einsum("kni,ki->kn", own, part)
            law = np.zeros((len(exponents), 2))
            law[:, free] = part
            whole = np.zeros((len(exponents), 2, 2))
            whole[:, np.array(free)[:, None], free] = inverse
            yield Solved(law, (self.weight * left**2).sum(1), whole)
