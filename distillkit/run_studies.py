"""Studies: many trainings, and what they say together. Fields only."""

import re
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


class Equal(StrEnum):
    """What methods are given equally much of."""

    steps = "steps"
    tokens = "tokens"
    time = "time"


class Tuned(StrEnum):
    """Where rates may be chosen anew."""

    steps = "steps"
    tokens = "tokens"
    time = "time"
    gkd = "gkd"


RESERVED = {
    "name": "name",
    "output": "output",
    "seed": "seeds",
    "steps": "steps",
    "optimizer.lr": "rates",
    "evaluation.every": "validation",
    "evaluation.validation": "validation",
    "evaluation.test": "test",
}
"""Fields of its trainings that ``study order`` sets, and by which of its own."""


@spec("order")
class OrderStudy(TrainingStudy):
    """Methods under equal steps, tokens, time and labels, and GKD's table (arXiv:2306.13649)."""

    methods: dict[str, str] = MISSING
    """Overrides of a training by the method's name; the others are compared with the first."""
    steps: int = MISSING
    """Updates at equal steps, under every budget of labels and in GKD's table."""
    equal: list[Equal] = MISSING
    """``steps``, from whose runs the counts of the others are measured, ``tokens`` and ``time``."""
    clock: str = MISSING
    """The method whose tokens and seconds count at equal tokens and at equal time."""
    multiple: int = MISSING
    """Steps at equal tokens and equal time are multiples of this."""
    labels: list[int] = MISSING
    """Budgets besides all labels, for methods that the dataset writes for."""
    rates: list[float] = MISSING
    """Learning rates to choose from, ascending. Of three or more the ends are tried only where
    their neighbour is the best of the others."""
    tuned: list[Tuned] = MISSING
    """Where rates are chosen: at equal ``steps`` and under budgets of labels always; elsewhere a
    method keeps that of equal steps, and ``gkd``'s policies that of their first divergence."""
    tuning_seed: int = 100
    """Seed of the trainings by which rates are chosen; none of ``seeds``."""
    validation: int = MISSING
    """Validation examples by which rates are chosen."""
    test: int | None = None
    """Test examples of all others; null for all."""
    gkd: bool = True
    """Whether GKD's table of divergences and policies is made."""
    divergences: dict[str, str] = MISSING
    """Its columns: overrides by name."""
    policies: dict[str, str] = MISSING
    """Its rows: overrides by lambda, the share of the student's own text."""

    def __post_init__(self) -> None:
        TrainingStudy.__post_init__(self)
        check_range(self, "", POSITIVE, "steps", "multiple", "validation", "test")
        check_range(self, "", FROM_ZERO, "tuning_seed")
        check_each("rates", self.rates, ABOVE_ZERO)
        if self.labels:
            check_each("labels", self.labels, POSITIVE)
        self._check_methods()
        if self.rates != sorted(self.rates):
            raise ConfigError(f"rates={self.rates} must ascend: the ends are tried last.")
        if self.tuning_seed in self.seeds:
            raise ConfigError(
                f"tuning_seed={self.tuning_seed} is one of seeds={self.seeds}: rates are chosen "
                "on a seed that is not measured. Choose another."
            )
        if Equal.steps not in self.equal or Tuned.steps not in self.tuned:
            raise ConfigError(
                "equal and tuned must hold steps: whatever else is equal is measured from there."
            )
        if self.gkd and not (self.divergences and self.policies):
            raise ConfigError("divergences or policies are empty. Set gkd=false for no GKD table.")

    def _check_methods(self) -> None:
        if len(self.methods) < 2:
            raise ConfigError(
                f"methods has {len(self.methods)} of the two that a comparison takes. Add one, as "
                "in +methods.mine='experiment=gkd'."
            )
        for name in self.methods:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                raise ConfigError(
                    f"methods.{name}: a method is named by letters, digits and underscores, since "
                    "run directories begin with it."
                )
        if self.clock not in self.methods:
            raise ConfigError(
                f"clock={self.clock} is no method. Choose from {', '.join(self.methods)}."
            )
        groups = {"methods": self.methods, "divergences": self.divergences}
        typed = {"train": self.train} | {
            f"{group}.{name}": text
            for group, texts in (groups | {"policies": self.policies}).items()
            for name, text in texts.items()
        }
        for place, text in typed.items():
            for word in text.split():
                if owner := RESERVED.get(word.lstrip("+").partition("=")[0]):
                    raise ConfigError(
                        f"{place} has {word}, which the study sets itself. Say it by {owner}=..."
                    )
