"""The likeliest entries of one model, and a bucket for the rest."""

from dataclasses import dataclass

from distillkit.core.bounds import POSITIVE, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Ids, LogProbs, Targets
from distillkit.supports.base import Sparse, Support, Told

ANY = 1 << 30
"""As many entries as are asked for, of who may be asked for more or fewer."""


@dataclass(kw_only=True, slots=True)
class TopK(Support):
    """Entries kept apart by rank."""

    k: int = 64
    """Entries that are kept apart; no more than the vocabulary has."""

    def __post_init__(self) -> None:
        check_range(self, "support.", POSITIVE, "k", hint="For every entry use support=full.")

    def _likeliest(self, side: LogProbs) -> Ids:
        return side.topk(min(self.k, side.shape[-1]), dim=-1).indices


@spec("support/teacher_top_k")
class TeacherTopK(TopK):
    """What a served teacher can send: its k likeliest tokens."""

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return self._likeliest(teacher)

    def within(self, told: Support) -> bool:
        return told.dense or (isinstance(told, TeacherTopK) and self.k <= told.k)

    def among(self, told: Told) -> Sparse:
        assert isinstance(told, Sparse)
        return told.kept(self.k)


@spec("support/student_top_k")
class StudentTopK(TopK):
    """The student's k likeliest tokens: where reverse KL has nearly all of its terms."""

    def chosen(self, teacher: LogProbs, student: LogProbs, targets: Targets) -> Ids:
        return self._likeliest(student)

    def within(self, told: Support) -> bool:
        """Also within what a teacher tells of the student's entries.

        Such a teacher is asked about the student as it is then: an opinion that is kept keeps the
        entries of the time of reading, though the student moves on.
        """
        return told.dense or (isinstance(told, StudentTopK) and self.k <= told.k)

    def among(self, told: Told) -> Sparse:
        assert isinstance(told, Sparse)
        return told.kept(self.k)
