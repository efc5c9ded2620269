"""Methods under equal budgets. Fields only."""

import re
from enum import StrEnum

from omegaconf import MISSING

from distillkit.core.bounds import ABOVE_ZERO, FROM_ZERO, POSITIVE, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.run_studies.base import TrainingStudy, check_each


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
