"""Studies: many trainings, and what they say together. Fields only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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


@spec("language")
class LanguageStudy(TrainingStudy):
    """Precision and recall of language models (arXiv:2505.13111, section 5).

    The teacher is the truth. Students learn from its text, drawn at several temperatures, or from
    its distributions.
    """

    taus: list[float] = MISSING
    """Temperatures at which the teacher writes for its students."""
    divergences: dict[str, str] = MISSING
    """Other ways to learn, on text that the teacher wrote at temperature 1 unless they say else:
    overrides of trainings by names of one's own."""
    limit: int = 200
    """Test prompts."""
    samples: int = 2
    """Texts of the truth and of each student to each of them."""

    def __post_init__(self) -> None:
        TrainingStudy.__post_init__(self)
        check_each("taus", self.taus, ABOVE_ZERO)
        check_range(self, "", POSITIVE, "limit", "samples")
        if len(self.seeds) < 3 or len(self.taus) < 2:
            raise ConfigError(
                f"seeds={self.seeds} taus={self.taus}: a rank correlation with its interval takes "
                "at least three seeds and two temperatures."
            )
