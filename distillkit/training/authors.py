"""Who writes a response, once the policy has named the author."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from distillkit.core.seeds import Share, child_seed
from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.opinions.base import Reader
from distillkit.policies.base import Policy
from distillkit.training.sides import Sides
from distillkit.writers.base import Writer, WriterSettings
from distillkit.writers.mixture import MixtureWriter


@dataclass(frozen=True, slots=True)
class Part:
    """Which rows of an author's are asked for here; other processes have the others written."""

    rows: Sequence[int]
    """Numbers of the rows."""
    count: int
    """How many there are in all."""

    def seed(self, seed: int) -> int | Share:
        """Of these rows, where that of all is given."""
        return seed if len(self.rows) == self.count else Share(seed, self.rows, self.count)


class AnyAuthor(Protocol):
    """Gives each example a response."""

    def write(
        self, examples: Sequence[Example], *, step: int, part: Part | None = None
    ) -> list[Response]:
        """Responses in the order of the examples, as written for update ``step``.

        Args:
            examples: those that are asked here.
            step: the update.
            part: which of all they are, where they are not all.
        """


@dataclass
class DatasetAuthor:
    """The reference text, closed by the end token unless it is cut.

    A model's context cuts it, or the dataset has already: then the text goes on where it ends.
    """

    student: LanguageModel
    """Whose tokenizer and end token are used."""
    readers: Sequence[LanguageModel | Reader]
    """Who has to find room for it, maybe after longer prompts or in smaller contexts."""

    def write(
        self, examples: Sequence[Example], *, step: int, part: Part | None = None
    ) -> list[Response]:
        return [self._close(example) for example in examples]

    def _close(self, example: Example) -> Response:
        whole = self.student.reference_ids(example)
        room = min(reader.context - reader.prompt_length(example) for reader in self.readers)
        cut = len(whole) > room or not example.closed
        return Response(whole[:room], truncated=cut, author=Author.dataset)


@dataclass
class WritingAuthor:
    """A writer, asked with draws of the step's own."""

    writer: Writer
    """Follows the student."""
    student: LanguageModel
    """Whom it follows."""
    sampling: Sampling
    """How tokens are chosen."""
    seed: int
    """Root seed of the run."""

    def write(
        self, examples: Sequence[Example], *, step: int, part: Part | None = None
    ) -> list[Response]:
        self.writer.follow(self.student, version=step)
        seed = child_seed(self.seed, "rollout", step)
        return self.writer.write(
            examples, self.sampling, seed=seed if part is None else part.seed(seed)
        )


@dataclass
class KeptAuthor:
    """Text that was written beforehand, by example id."""

    texts: Mapping[str, Response]
    seconds: float = 0.0
    """That writing it, or reading what was kept of it, took."""

    @property
    def tokens(self) -> int:
        """Tokens of all of it."""
        return sum(len(text.tokens) for text in self.texts.values())

    def write(
        self, examples: Sequence[Example], *, step: int, part: Part | None = None
    ) -> list[Response]:
        return [self.texts[example.id] for example in examples]


def writer_of(policy: Policy, settings: WriterSettings, student: LanguageModel) -> Writer | None:
    """Who writes the student's text, ready to; None where nobody is asked for any.

    Raises:
        DistillkitError: it cannot write for this student.
    """
    return settings.open(student) if Author.student in policy.may_write() else None


def authors_of(
    policy: Policy,
    *,
    sides: Sides,
    writer: Writer | None,
    sampling: Sampling,
    seed: int,
) -> dict[Author, AnyAuthor]:
    """Whoever writes while the run goes on, ready to; the teacher's text is written before.

    Args:
        policy: names them.
        sides: the models.
        writer: of the student's text, as :func:`writer_of` opens it.
        sampling: how tokens are chosen.
        seed: root seed of the run.
    """
    student, named = sides.student, policy.may_write()
    authors: dict[Author, AnyAuthor] = {Author.dataset: DatasetAuthor(student, sides.readers)}
    if Author.student in named:
        assert writer is not None
        authors[Author.student] = WritingAuthor(writer, student, sampling, seed=seed)
    if Author.mixture in named:
        share = policy.mixing()
        assert share is not None, "refused when composing"
        assert sides.teacher is not None, "refused when composing"
        mixture = MixtureWriter(student, sides.teacher, share=share)
        authors[Author.mixture] = WritingAuthor(mixture, student, sampling, seed=seed)
    return authors


def write_rollouts(
    examples: Sequence[Example],
    named: Sequence[Author],
    *,
    authors: Mapping[Author, AnyAuthor],
    step: int,
    placement: Placement = ALONE,
) -> dict[int, Rollout]:
    """Have each author write this process's share of its rows; by the number of the row."""
    rollouts: dict[int, Rollout] = {}
    for author in sorted(set(named)):
        rows = [row for row, name in enumerate(named) if name is author]
        mine = placement.mine(range(len(rows)))
        asked = [examples[rows[place]] for place in mine]
        responses = authors[author].write(asked, step=step, part=Part(mine, len(rows)))
        for place, response in zip(mine, responses, strict=True):
            rollouts[rows[place]] = Rollout(examples[rows[place]], response)
    return dict(sorted(rollouts.items()))
