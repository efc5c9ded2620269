"""Student and teacher of this process together, every token drawn from a mixture of both."""

from collections.abc import Callable, Sequence

from distillkit.core.types import Example, Response
from distillkit.models.language_model import LanguageModel
from distillkit.models.mixture import generate_mixture
from distillkit.models.sampling import Sampling


class MixtureWriter:
    """Writes with the draws that the student would have alone.

    Args:
        student: as it is when it is asked.
        teacher: reads its own prompts.
        share: of the teacher in the mixture of each token; 0 writes what the student would.
    """

    def __init__(self, student: LanguageModel, teacher: LanguageModel, *, share: float) -> None:
        self._student, self._teacher, self._share = student, teacher, share

    def write(
        self,
        examples: Sequence[Example],
        sampling: Sampling,
        *,
        seed: int | Sequence[int],
        poll: Callable[[], None] = lambda: None,
    ) -> list[Response]:
        """See :class:`distillkit.writers.base.Writer`."""
        return generate_mixture(
            self._student,
            self._teacher,
            prompts=self._student.prompts.of(examples),
            teacher_prompts=self._teacher.prompts.of(examples),
            sampling=sampling,
            share=self._share,
            seed=seed,
            poll=poll,
        )

    def follow(self, student: LanguageModel, *, version: int) -> None:
        """It is there already."""
