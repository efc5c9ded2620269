"""Who writes a response, once the policy has named the author."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.mixture import generate_mixture
from distillkit.models.sampling import Sampling
from distillkit.opinions.base import Reader


class Writer(Protocol):
    """Gives each example a response."""

    def write(self, examples: Sequence[Example], *, step: int) -> list[Response]:
        """Responses in the order of the examples, as written for update ``step``."""
        ...


class DatasetWriter:
    """The reference text, closed by the end token unless it is cut.

    A model's context cuts it, or the dataset has already: then the text goes on where it ends.

    Args:
        student: whose tokenizer and end token are used.
        readers: who has to find room for it, maybe after longer prompts or in smaller contexts.
    """

    def __init__(self, student: LanguageModel, readers: Sequence[LanguageModel | Reader]) -> None:
        self._student, self._readers = student, readers

    def write(self, examples: Sequence[Example], *, step: int) -> list[Response]:
        return [self._close(example) for example in examples]

    def _close(self, example: Example) -> Response:
        whole = self._student.reference_ids(example)
        room = min(reader.context - reader.prompt_length(example) for reader in self._readers)
        cut = len(whole) > room or not example.closed
        return Response(whole[:room], truncated=cut, author=Author.dataset)


class StudentWriter:
    """The student as it is now, sampled with a generator of the step's own."""

    def __init__(self, student: LanguageModel, sampling: Sampling, *, seed: int) -> None:
        self._student, self._sampling, self._seed = student, sampling, seed

    def write(self, examples: Sequence[Example], *, step: int) -> list[Response]:
        prompts = [self._student.prompts.prompt_ids(example) for example in examples]
        seed = child_seed(self._seed, "rollout", step)
        written = generate(self._student, prompts, self._sampling, seed=seed)
        return [
            Response(
                text.tokens,
                text.truncated,
                Author.student,
                log_probs=text.log_probs,
                of_student=text.log_probs if self._sampling.neutral else (),
            )
            for text in written
        ]


class MixtureWriter:
    """Student and teacher together, sampled with the draws that the student would have alone.

    Args:
        student: as it is now.
        teacher: reads its own prompts.
        sampling: how tokens are chosen.
        share: of the teacher in the mixture of each token; 0 writes what :class:`StudentWriter`
            writes.
        seed: root seed of the run.
    """

    def __init__(
        self,
        student: LanguageModel,
        teacher: LanguageModel,
        *,
        sampling: Sampling,
        share: float,
        seed: int,
    ) -> None:
        self._student, self._teacher = student, teacher
        self._sampling, self._share, self._seed = sampling, share, seed

    def write(self, examples: Sequence[Example], *, step: int) -> list[Response]:
        written = generate_mixture(
            self._student,
            self._teacher,
            prompts=[self._student.prompts.prompt_ids(example) for example in examples],
            teacher_prompts=[self._teacher.prompts.prompt_ids(example) for example in examples],
            sampling=self._sampling,
            share=self._share,
            seed=child_seed(self._seed, "rollout", step),
        )
        return [
            Response(
                text.tokens,
                text.truncated,
                Author.mixture,
                log_probs=text.log_probs,
                of_student=text.of_student,
                of_teacher=text.of_teacher,
            )
            for text in written
        ]


class KeptWriter:
    """Text that was written beforehand, by example id."""

    def __init__(self, texts: Mapping[str, Response]) -> None:
        self._texts = texts

    @property
    def tokens(self) -> int:
        """Tokens of all of it."""
        return sum(len(text.tokens) for text in self._texts.values())

    def write(self, examples: Sequence[Example], *, step: int) -> list[Response]:
        return [self._texts[example.id] for example in examples]


def write_rollouts(
    examples: Sequence[Example],
    authors: Sequence[Author],
    *,
    writers: Mapping[Author, Writer],
    step: int,
) -> list[Rollout]:
    """Have each author write its rows; the order of the examples is kept."""
    rollouts: dict[int, Rollout] = {}
    for author in sorted(set(authors)):
        rows = [row for row, name in enumerate(authors) if name is author]
        responses = writers[author].write([examples[row] for row in rows], step=step)
        for row, response in zip(rows, responses, strict=True):
            rollouts[row] = Rollout(examples[row], response)
    return [rollouts[row] for row in range(len(examples))]
