"""Classical distillation on given text: the teacher's distribution and the text's own token.

G. Hinton et al., arXiv:1503.02531; with ratio 0.5 the KD baseline of MiniLLM, arXiv:2306.08543.
"""

from distillkit.core.bounds import SHARE, check_range
from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Author
from distillkit.models.likelihood import Scorer
from distillkit.objectives.base import Scored
from distillkit.objectives.divergence import Comparing
from distillkit.objectives.pulls import Likelihood
from distillkit.objectives.scoring import Pulled, compare
from distillkit.objectives.sft import refuse_own_text


@spec("objective/kd")
class KD(Comparing):
    """``ratio`` of the divergence and the rest of the negative log-likelihood."""

    ratio: float = 0.5
    """Weight of the divergence, in [0, 1]."""

    def __post_init__(self) -> None:
        Comparing.__post_init__(self)
        hint = "For cross-entropy alone use objective=sft."
        check_range(self, "objective.", SHARE, "ratio", hint=hint)
        if self.student_temperature != 1:
            raise ConfigError(
                f"objective.student_temperature={self.student_temperature} would change the "
                "likelihood too. Set it to 1, or use objective=divergence."
            )

    def check_authors(self, authors: frozenset[Author]) -> None:
        refuse_own_text("kd", authors)

    def backward(
        self, batch: Scored, *, student: Scorer, clock: Clock | None = None
    ) -> dict[str, float]:
        sums = compare(
            self.compared(),
            batch,
            self.ratio * batch.weights,
            student=student,
            chunk_mb=self.chunk_mb,
            clock=clock or Clock(),
            pulled=Pulled(Likelihood(), (1 - self.ratio) * batch.weights[:, None]),
        )
        return {
            "loss": sums.exact + sums.pulled,
            "loss/divergence": sums.exact,
            "loss/likelihood": sums.pulled,
        }
