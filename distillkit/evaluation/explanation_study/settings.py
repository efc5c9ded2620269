"""Sizes of the experiment on mixtures; the paper's, but for fresh points to test recall."""

from dataclasses import dataclass
from enum import StrEnum

from distillkit.core.bounds import ABOVE_ZERO, MANY, POSITIVE, check_bound, check_range
from distillkit.core.errors import ConfigError


class Fit(StrEnum):
    """How likelihood is maximised."""

    em = "em"
    gradient = "gradient"


@dataclass(kw_only=True, slots=True)
class Levels:
    """Truth, teacher and student, and how many points each level sees."""

    data: int = 100
    """Points of the truth that direct student and teacher are fitted to."""
    teacher: int = 4
    """Components of the teacher; the truth has eight."""
    student: int = 1
    """Components of the students."""
    drawn: int = 1000
    """Points of the teacher that a distilled student is fitted to."""
    test: int = 4000
    """Fresh points of the truth, for recall."""
    samples: int = 2000
    """Points of each student, for precision."""
    variance: float = 0.025
    """Of every coordinate of the truth's components."""
    ratio: float = 1.0
    """Of each true weight to the one before; 1 is the paper's."""
    fit: Fit = Fit.em
    """``em``, or ``gradient``."""

    def __post_init__(self) -> None:
        sizes = ("data", "teacher", "student", "drawn", "test", "samples")
        check_range(self, "levels.", POSITIVE, *sizes)
        for name in sizes:
            check_bound(f"levels.{name}", getattr(self, name), MANY)
        check_range(self, "levels.", ABOVE_ZERO, "variance", "ratio")
        for fitted, seen in (("teacher", "data"), ("student", "data"), ("student", "drawn")):
            components, points = getattr(self, fitted), getattr(self, seen)
            if components > points:
                raise ConfigError(
                    f"levels.{fitted}={components} components cannot be fitted to "
                    f"levels.{seen}={points} points. Draw more, or fit fewer."
                )
