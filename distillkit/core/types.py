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
    """One turn of a conversation."""

    role: str
    """Who speaks, ``user`` for one."""
    content: str
    """All that is said."""
    input: str = ""
    """Its end after a blank line, where that is an instruction's input, which some prompt formats
    put under a heading of its own; "" where there is none."""


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and its reference response; belongs to the dataset that judges answers."""

    id: str
    """Unique inside the dataset, over all its splits."""
    prompt: tuple[Message, ...]
    """What is asked, as messages; the last one is the user's. None where nothing is asked: the
    reference is then text to be modelled from its beginning."""
    reference: str
    """The whole reference response (rationale and answer), or "" where none is known."""
    answer: str = ""
    """The final answer that ``Dataset.is_correct`` compares with, or "" where none is."""
    options: tuple[str, ...] = ()
    """For a multiple-choice example, a response for each choice."""
    alternatives: tuple[str, ...] = ()
    """Other reference responses, for metrics that take the best; never trained on."""
    closed: bool = True
    """Whether the text ends where the reference does, so that an end token belongs there."""
    opening: str = ""
    """Text that stands right before the reference, given and never learned, where nothing is asked;
    "" where the reference begins the text."""
    tags: tuple[tuple[str, str], ...] = ()
    """Names and values of what else its dataset knows of it, such as its domain; no model reads
    them."""

    def tag(self, name: str) -> str | None:
        """The value of a tag; None where it has no such tag."""
        return dict(self.tags).get(name)

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
    """Tokens written after a prompt."""

    tokens: tuple[int, ...]
    """Response ids without padding. A response that ended by itself carries its end-of-sequence
    token, one cut by the length limit does not."""
    truncated: bool
    """The length limit cut it."""
    author: Author
    """Who wrote it."""
    log_probs: tuple[float, ...] = field(default=(), repr=False)
    """Of each token under the distribution it was drawn from, in nats, where a model drew it while
    the run went on; else empty."""
    of_student: tuple[float, ...] = field(default=(), repr=False)
    """The same under the student as it was then, at temperature 1; empty if unknown."""
    of_teacher: tuple[float, ...] = field(default=(), repr=False)
    """The same under the teacher, at temperature 1; empty if unknown."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """An example and the response that will be trained on."""

    example: Example
    response: Response
    reward: float | None = None
    """What the response is worth, where the run has a reward."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished response as its dataset, a reward or a metric reads it."""

    example: Example
    """What was asked, with its reference and answer."""
    text: str
    """The response, decoded without special tokens."""
    tokens: tuple[int, ...] = field(repr=False)
    """Ids; the end token is the last one unless the length limit cut the text."""
    truncated: bool
    """Whether it did."""
    stated: str | None = None
    """The final answer in the text; None where none can be read, or nobody looked."""
    correct: bool | None = None
    """Whether the text is right; None where the example has no answer, or nobody looked."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch, ready to be scored: rows are prompt + response, padded on the right."""

    tokens: Int[Tensor, "B L"]
    """Ids [B, L] as the model of this side reads them."""
    mask: Int[Tensor, "B L"]
    """Ones where a token is real [B, L]."""
    rows: Index
    """Row of each packed position [N]."""
    columns: Index
    """Column whose hidden state predicts the packed position's target [N]."""
    targets: Targets
    """Response ids to be predicted [N]."""


@dataclass(frozen=True, slots=True)
class Update:
    """One optimiser step and its numbers, ready for the tracker."""

    step: int
    """1 for the first."""
    metrics: dict[str, float]
    """What is the same whenever the step is repeated."""
    rollouts: Sequence[Rollout] = field(default=(), repr=False)
    """The text it learnt from."""
    collection: Sequence[Rollout] = field(default=(), repr=False)
    """The text that the next step learns from too; empty where it is written anew."""
    seconds: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)
    """By phase; no part of the metrics, because they differ at every repetition."""
