"""Studies: many trainings, and what they say together. Fields only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import ClassVar

from omegaconf import MISSING

from distillkit.core.bounds import ABOVE_ZERO, FROM_ZERO, POSITIVE, Range, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.evaluation.explanation_study.settings import Levels
from distillkit.run import check_place
from distillkit.training.tracker import Tracker

LEAST_SEEDS = 3
"""Of a study whose intervals are made of seeds."""
LEAST_SIZES = 3
"""Of an axis that a law is fitted to."""


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
    """What every study has."""

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
    """What studies have that train."""

    train: str = ""
    """Overrides of all its trainings as one text, such as ``'dataset=journey steps=100'``."""
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


@spec("mixture")
class MixtureStudy(Study):
    """Precision and recall of students on mixtures of Gaussians (arXiv:2505.13111, section 4)."""

    seeds: list[int] = field(default_factory=lambda: list(range(20)))
    """Of data, fits and samples."""
    betas: list[float] = MISSING
    """Powers that sharpen the teacher's weights."""
    levels: Levels = MISSING
    tracker: Tracker = MISSING

    def __post_init__(self) -> None:
        Study.__post_init__(self)
        check_each("betas", self.betas, ABOVE_ZERO)


class Measured(StrEnum):
    """What is held against size: ``accuracy`` as its error rate, the others as they are."""

    accuracy = "accuracy"
    nll = "nll"
    divergence = "divergence"


@spec("scaling")
class ScalingStudy(TrainingStudy):
    """How steps, labels and the student's size go with what a training reaches."""

    methods: dict[str, str] = MISSING
    """Overrides of ``distillkit train`` by the name of a method; each has laws of its own."""
    steps: list[int] = MISSING
    """Updates."""
    labels: list[int] = MISSING
    """Values of dataset.labelled; empty for the labels of all examples."""
    students: dict[str, str] = MISSING
    """Overrides by the name of a student; they are ordered by their number of parameters."""
    of: Measured = Measured.nll
    """Of the test split; ``divergence`` is KL(teacher || student) on the dataset's text."""
    evaluation: str = "samples=1"
    """Overrides of ``distillkit eval``, which measures the divergence."""

    def __post_init__(self) -> None:
        TrainingStudy.__post_init__(self)
        check_each("steps", self.steps, POSITIVE)
        if self.labels:
            check_each("labels", self.labels, POSITIVE)
        for name, entries in (("methods", self.methods), ("students", self.students)):
            if not entries:
                raise ConfigError(f"{name} is empty. Name one at least, such as {name}.mine=''.")
        if len(self.seeds) < LEAST_SEEDS:
            raise ConfigError(
                f"seeds={self.seeds}: intervals are made of the spread over seeds, which takes "
                f"{LEAST_SEEDS} or more. Give more seeds."
            )
        sizes = {name: len(getattr(self, name)) for name in ("steps", "labels", "students")}
        if max(sizes.values()) < LEAST_SIZES:
            raise ConfigError(
                f"no axis has {LEAST_SIZES} sizes or more, which a law takes: there are "
                + ", ".join(f"{count} of {name}" for name, count in sizes.items())
                + ". Give more of one."
            )
