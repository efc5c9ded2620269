"""GKD's coin: the student writes with probability lambda (arXiv:2306.13649, algorithm 1)."""

from enum import StrEnum

from distillkit.core.errors import ConfigError
from distillkit.core.seeds import child_random
from distillkit.core.spec import spec
from distillkit.core.types import Author
from distillkit.policies.base import Policy


class Draw(StrEnum):
    """What one toss of the coin decides."""

    batch = "batch"
    sequence = "sequence"


@spec("policy/mixed")
class Mixed(Policy):
    """The student writes with probability lambda, somebody else the rest."""

    lmbda: float = 0.5
    """Share of student text, in [0, 1]."""
    lmbda_end: float | None = None
    """Share at the last step; lambda runs there in a straight line. Constant if null."""
    draw: Draw = Draw.batch
    """One coin for each batch, as in the paper, or one for each sequence."""
    otherwise: Author = Author.dataset
    """Who writes when the student does not: ``dataset`` or ``teacher``."""

    def __post_init__(self) -> None:
        ends = {"lmbda (policy.lmbda)": self.lmbda, "policy.lmbda_end": self.lmbda_end}
        for field, share in ends.items():
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(
                    f"{field} must lie in [0, 1], got {share}: 0 is the dataset's text alone, "
                    "1 the student's."
                )
        if self.otherwise is Author.student:
            raise ConfigError(
                "policy.otherwise=student leaves nothing to mix. Use dataset or teacher, or "
                "policy=on_policy."
            )
        if self.otherwise is Author.mixture:
            raise ConfigError(
                "policy.otherwise=mixture has no share to mix both models with. Use dataset or "
                "teacher, or policy=teacher_mixed."
            )

    def authors(self, step: int, count: int, *, steps: int, seed: int) -> list[Author]:
        coin = child_random(seed, "policy", step)
        tosses = 1 if self.draw is Draw.batch else count
        share = self.share(step, steps)
        # random() is below 1, so that a share of 1 always lets the student write, and 0 never.
        drawn = [Author.student if coin.random() < share else self.otherwise for _ in range(tosses)]
        return drawn if self.draw is Draw.sequence else drawn * count

    def may_write(self) -> frozenset[Author]:
        return frozenset({Author.student, self.otherwise})

    def share(self, step: int, steps: int) -> float:
        """Lambda at a step."""
        if self.lmbda_end is None or steps < 2:
            return self.lmbda
        return self.lmbda + (self.lmbda_end - self.lmbda) * step / (steps - 1)
