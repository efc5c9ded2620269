"""A language model of this process as a writer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from distillkit.core.types import Author, Example, Response
from distillkit.models.generation import generate
from distillkit.models.language_model import Draft, LanguageModel
from distillkit.models.sampling import Sampling


class LocalWriter:
    """Writes with a model whose weights are here, so that it has nothing to follow.

    Args:
        model: as it is when it is asked.
        author: whose text it is.
        draft: proposes what it writes, where it is not to write alone.
    """

    def __init__(
        self,
        model: LanguageModel,
        author: Author = Author.student,
        *,
        draft: Draft | None = None,
    ) -> None:
        self._model, self._author, self._draft = model, author, draft

    def write(
        self,
        examples: Sequence[Example],
        sampling: Sampling,
        *,
        seed: int | Sequence[int],
        poll: Callable[[], None] = lambda: None,
    ) -> list[Response]:
        """See :class:`distillkit.writers.base.Writer`."""
        prompts = self._model.prompts.of(examples)
        written = generate(
            self._model,
            prompts,
            sampling,
            seed=seed,
            author=self._author,
            draft=self._draft,
            poll=poll,
        )
        if self._author is not Author.student or not sampling.neutral:
            return written
        return [replace(response, of_student=response.log_probs) for response in written]

    def follow(self, student: LanguageModel, *, version: int) -> None:
        """It is there already."""
