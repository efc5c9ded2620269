"""Values that flow between stages, and the shape aliases of their tensors.

Letters: B batch, T response positions, N valid positions packed, V support, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from jaxtyping import Float, Int
from torch import Tensor

LogProbs = Float[Tensor, "N V"]
"""Log-probabilities of N packed positions over a support of V entries, fp32 or fp64."""

PerToken = Float[Tensor, "N"]
"""One unreduced number for each packed position, in nats where it is a divergence."""

Index = Int[Tensor, "N"]
"""One whole number for each packed position."""

Targets = Index
"""The response's token at each packed position."""

Ids = Int[Tensor, "N K"]
"""K token ids at each packed position."""


class Author(StrEnum):
    """Who wrote a response."""

    dataset = "dataset"
    teacher = "teacher"
    student = "student"
    mixture = "mixture"
    """Student and teacher together, every token drawn from a mixture of both."""


class Split(StrEnum):
    """Which part of a dataset."""

    train = "train"
    validation = "validation"
    test = "test"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks, ``user`` for one.
        content: all that is said.
        input: its end after a blank line, where that is an instruction's input, which some prompt
            formats put under a heading of its own; "" where there is none.
    """

    role: str
    content: str
    input: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its reference response; belongs to the dataset that judges answers.

    Attributes:
        id: unique inside the dataset, over all its splits.
        prompt: what is asked, as messages; the last one is the user's. None where nothing is asked:
            the reference is then text to be modelled from its beginning.
        reference: the whole reference response (rationale and answer), or "" where none is known.
        answer: the final answer that ``Dataset.is_correct`` compares with, or "" where none is.
        options: for a multiple-choice example, a response for each choice.
        alternatives: other reference responses, for metrics that take the best; never trained on.
        closed: whether the text ends where the reference does, so that an end token belongs there.
        opening: text that stands right before the reference, given and never learned, where
            nothing is asked; "" where the reference begins the text.
    """

    id: str
    prompt: tuple[Message, ...]
    reference: str
    answer: str = ""
    options: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    closed: bool = True
    opening: str = ""

    @property
    def teaches(self) -> bool:
        """Whether the reference says anything; a passage that nobody asked for may be a space."""
        return bool(self.reference.strip() if self.prompt else self.reference)

    def unlabelled(self) -> "Example":
        """The same prompt without anything that tells what is right."""
        return replace(self, reference="", answer="", alternatives=())

    @property
    def question(self) -> str:
        """Text of the last message; where nothing is asked, what is given of the text."""
        return self.prompt[-1].content if self.prompt else self.opening


@dataclass(frozen=True, slots=True)
class Response:
    """Tokens written after a prompt.

    Attributes:
        tokens: response ids without padding. A response that ended by itself carries its
            end-of-sequence token, one cut by the length limit does not.
        truncated: the length limit cut it.
        author: who wrote it.
        log_probs: of each token under the distribution it was drawn from, in nats, where a model
            drew it while the run went on; else empty.
        of_student: the same under the student as it was then, at temperature 1; empty if unknown.
        of_teacher: the same under the teacher, at temperature 1; empty if unknown.
    """

    tokens: tuple[int, ...]
    truncated: bool
    author: Author
    log_probs: tuple[float, ...] = field(default=(), repr=False)
    of_student: tuple[float, ...] = field(default=(), repr=False)
    of_teacher: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Rollout:
    """An example and the response that will be trained on.

    Attributes:
        reward: what the response is worth, where the run has a reward.
    """

    example: Example
    response: Response
    reward: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished response as its dataset, a reward or a metric reads it.

    Attributes:
        example: what was asked, with its reference and answer.
        text: the response, decoded without special tokens.
        tokens: ids; the end token is the last one unless the length limit cut the text.
        truncated: whether it did.
        stated: the final answer in the text; None where none can be read, or nobody looked.
        correct: whether the text is right; None where the example has no answer, or nobody looked.
    """

    example: Example
    text: str
    tokens: tuple[int, ...] = field(repr=False)
    truncated: bool
    stated: str | None = None
    correct: bool | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch, ready to be scored: rows are prompt + response, padded on the right.

    Attributes:
        tokens: ids [B, L] as the model of this side reads them.
        mask: ones where a token is real [B, L].
        rows: row of each packed position [N].
        columns: column whose hidden state predicts the packed position's target [N].
        targets: response ids to be predicted [N].
        even: whether all rows are known to be of one length, so that nothing is padding.
    """

    tokens: Int[Tensor, "B L"]
    mask: Int[Tensor, "B L"]
    rows: Index
    columns: Index
    targets: Targets
    even: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """One optimiser step and its numbers, ready for the tracker.

    Attributes:
        step: 1 for the first.
        metrics: what is the same whenever the step is repeated.
        rollouts: the text it learnt from.
        collection: the text that the next step learns from too; empty where it is written anew.
        seconds: by phase; no part of the metrics, because they differ at every repetition.
    """

    step: int
    metrics: dict[str, float]
    rollouts: Sequence[Rollout] = field(default=(), repr=False)
    collection: Sequence[Rollout] = field(default=(), repr=False)
    seconds: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)
