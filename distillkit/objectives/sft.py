"""Supervised fine-tuning: cross-entropy on text that somebody else wrote."""

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Author
from distillkit.models.likelihood import Scorer
from distillkit.objectives.base import Objective, Scored
from distillkit.objectives.pulls import Likelihood
from distillkit.objectives.scoring import Pulled, pull_tokens


@spec("objective/sft")
class SFT(Objective):
    """Negative log-likelihood: SFT on the dataset's text, SeqKD on the teacher's."""

    def check_authors(self, authors: frozenset[Author]) -> None:
        refuse_own_text("sft", authors)

    def backward(
        self, batch: Scored, *, student: Scorer, clock: Clock | None = None
    ) -> dict[str, float]:
        pulled = Pulled(Likelihood(), batch.weights[:, None])
        sums = pull_tokens(
            pulled, batch, student=student, chunk_mb=self.chunk_mb, clock=clock or Clock()
        )
        return {"loss": sums.pulled}


def refuse_own_text(objective: str, authors: frozenset[Author]) -> None:
    """Refuse cross-entropy on a model's own samples: it feeds its errors back until it collapses.

    Raises:
        ConfigError: the student writes some of the text, alone or in a mixture.
    """
    if authors & {Author.student, Author.mixture}:
        raise ConfigError(
            f"objective={objective} takes text as true and cannot learn from what the student "
            "wrote, alone or with the teacher. Use objective=divergence, or policy=off_policy or "
            "policy=seq_kd."
        )
