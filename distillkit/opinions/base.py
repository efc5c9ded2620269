"""What every opinion is, and everyone who has one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from distillkit.core.types import Example, LogProbs, PerToken, Rollout
from distillkit.models.pretrained import Readable
from distillkit.supports.base import Sparse, Support

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.models.language_model import LanguageModel

Heard = LogProbs | Sparse
"""A teacher's logits of some positions [n, V], or log-probabilities of the entries it tells."""


class Opinion(Protocol):
    """What a teacher thinks at N packed positions of rollouts, in their order."""

    def __len__(self) -> int: ...

    def opened(self, rows: int) -> Callable[[slice], Heard]:
        """What it says of any so many positions; what it said of others may be overwritten then."""

    def drawn(self, *, chunk_mb: int) -> PerToken:
        """Log-probability of the token that the text holds at each position, in nats [N].

        Args:
            chunk_mb: mebibytes for logits, where there are any.
        """

    def rolled(self) -> Self:
        """The same opinion of other positions: each is given that of one half the batch away."""

    def split(self, lengths: Sequence[int]) -> list[Self]:
        """One opinion for each rollout, of so many positions."""

    def join(self, others: Sequence[Self]) -> Self:
        """This one and others end to end."""


class Reader(Protocol):
    """Who has opinions of rollouts: a model of this process, a table, a server."""

    @property
    def context(self) -> int:
        """Most tokens of prompt and response that it can read."""

    @property
    def active_parameters(self) -> int:
        """Numbers of this process that every token is multiplied with; 0 for none."""

    def prompt_length(self, example: Example) -> int:
        """Tokens that stand before a response as it is read."""

    def read(self, rollouts: Sequence[Rollout]) -> Opinion:
        """Its opinion of these rollouts, of one after the other; called without a gradient."""


@dataclass(kw_only=True, slots=True)
class OnlyReads(Readable, ABC):
    """A teacher that is no model of this process: it writes nothing, and is not measured.

    A component of the group ``teacher``. What it gives is asked for before anything is loaded.
    """

    @abstractmethod
    def gives(self) -> Support:
        """The densest support that its opinions have."""

    @abstractmethod
    def tells_drawn(self) -> bool:
        """Whether it says how likely it finds each token of a text."""

    @abstractmethod
    def open(self, student: "LanguageModel") -> Reader:
        """The reader, ready to be asked about this student's ids.

        Raises:
            DistillkitError: it cannot be asked, or not about these ids.
        """
