"""Laws of scale. Fields only."""

from enum import StrEnum

from omegaconf import MISSING

from distillkit.core.bounds import POSITIVE
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.run_studies.base import LEAST_SEEDS, TrainingStudy, check_each

LEAST_SIZES = 3
"""Of an axis that a law is fitted to."""


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
