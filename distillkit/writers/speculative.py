"""A language model of this process that writes what a smaller one proposes, where it would too."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from distillkit.core.types import Author, Example, Response
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.models.side import Ready
from distillkit.models.speculation import Speculator


class SpeculativeWriter:
    """Writes what the student would, in distribution; greedy text is the student's to the letter.

    Args:
        student: as it is when it is asked.
        draft: proposes; stays as it is.
        proposals: tokens that it proposes in a round.
    """

    def __init__(self, student: LanguageModel, draft: LanguageModel, *, proposals: int) -> None:
        self._student, self._draft, self._proposals = student, draft, proposals

    def write(
        self,
        examples: Sequence[Example],
        sampling: Sampling,
        *,
        seed: int | Sequence[int],
        poll: Callable[[], None] = lambda: None,
    ) -> list[Response]:
        """See :class:`distillkit.writers.base.Writer`."""
        prompts = self._student.prompts.of(examples)
        speculator = Speculator(Ready(self._student), Ready(self._draft), k=self._proposals)
        found = speculator.write(
            prompts, prompts, sampling, seed=seed, author=Author.student, poll=poll
        )
        written = [each.response for each in found]
        if not sampling.neutral:
            return written
        return [replace(response, of_student=response.log_probs) for response in written]

    def follow(self, student: LanguageModel, *, version: int) -> None:
        """It is there already."""
