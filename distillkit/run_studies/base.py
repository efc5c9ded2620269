"""What every study has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from distillkit.core.bounds import FROM_ZERO, POSITIVE, Range, check_range
from distillkit.core.errors import ConfigError
from distillkit.run import check_place

LEAST_SEEDS = 3
"""What a test over seeds takes."""


def check_each(name: str, values: Sequence[float], allowed: Range) -> None:
    """Refuse a list that is empty, says something twice, or holds a number outside its range.

    Raises:
        ConfigError: it does.
    """
    if not values or len(set(values)) < len(values):
        raise ConfigError(f"{name}={values} must hold at least one number, and none twice.")
    for value in values:
        if not (allowed.holds(value) and isfinite(value)):
            raise ConfigError(f"{name}={values}: each must {allowed.rule}, got {value}.")


@dataclass(kw_only=True, slots=True)
class Study:
    """A study."""

    NOT_IN_FINGERPRINT: ClassVar = ("jobs", "launcher")

    name: str | None = None
    """Name of the study's folder; made of its fingerprint if null."""
    output: str = "outputs"
    """Its folder is ``study/<verb>/<name>`` in here."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Of everything that is done once a seed."""

    def __post_init__(self) -> None:
        check_place(self.name, self.output)
        check_each("seeds", self.seeds, FROM_ZERO)


@dataclass(kw_only=True, slots=True)
class TrainingStudy(Study):
    """A study that trains."""

    train: str = ""
    """Overrides of all its trainings as one text."""
    typed: list[str] = field(default_factory=list)
    """What was typed behind ``train.``, as in ``train.dataset=journey``; it goes over ``train``."""
    jobs: int = 1
    """Trainings side by side on this machine; more than one takes ``distillkit[sweep]``."""
    launcher: str = ""
    """Hydra's overrides for whoever else runs them, such as ``'hydra/launcher=submitit_slurm'``."""

    def __post_init__(self) -> None:
        Study.__post_init__(self)
        check_range(self, "", POSITIVE, "jobs")
        if self.launcher and self.jobs > 1:
            raise ConfigError(
                f"launcher={self.launcher!r} decides how many trainings run side by side. "
                "Remove jobs=..., and say it to the launcher."
            )
