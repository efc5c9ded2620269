"""Teacher-mixed sampling (MiniLLM, arXiv:2306.08543, eq. 4): both models write every token."""

from distillkit.core.bounds import SHARE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Author
from distillkit.policies.base import Policy


@spec("policy/teacher_mixed")
class TeacherMixed(Policy):
    """Every token drawn from a mixture of teacher and student, written afresh at every step."""

    alpha: float = 0.2
    """Share of the teacher in the mixture of each token, in [0, 1]: 0 is the student's own text,
    1 the teacher's, drawn anew at every step where ``seq_kd`` keeps one."""

    def __post_init__(self) -> None:
        hint = "0 is the student's text alone, 1 the teacher's."
        check_range(self, "policy.", SHARE, "alpha", hint=hint)

    def authors(self, step: int, count: int, *, steps: int, seed: int) -> list[Author]:
        return [Author.mixture] * count

    def may_write(self) -> frozenset[Author]:
        return frozenset({Author.mixture})

    def mixing(self) -> float | None:
        return self.alpha
