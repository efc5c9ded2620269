"""Distillation as an entropy filter, on mixtures and on language. Fields only."""

from dataclasses import field

from omegaconf import MISSING

from distillkit.core.bounds import ABOVE_ZERO, POSITIVE, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.evaluation.explanation_study.settings import Levels
from distillkit.run_studies.base import LEAST_SEEDS, Study, TrainingStudy, check_each
from distillkit.training.tracker import Tracker


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
        if len(self.seeds) < LEAST_SEEDS or len(self.taus) < 2:
            raise ConfigError(
                f"seeds={self.seeds} taus={self.taus}: a rank correlation with its interval takes "
                "at least three seeds and two temperatures."
            )
