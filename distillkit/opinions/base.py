"""What every opinion is, and everyone who has one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from distillkit.core.costs import Costs
from distillkit.core.types import Example, LogProbs, PerToken, Response, Rollout
from distillkit.models.pretrained import Readable
from distillkit.models.sampling import Sampling
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


class Reader(ABC):
    """Who has opinions of rollouts: a model of this process, a table, a file, a server."""

    @property
    @abstractmethod
    def context(self) -> int:
        """Most tokens of prompt and response that it can read."""

    @property
    def active_parameters(self) -> int:
        """Numbers of this process that every token is multiplied with; 0 for none."""
        return 0

    @abstractmethod
    def prompt_length(self, example: Example) -> int:
        """Tokens that stand before a response as it is read."""

    @abstractmethod
    def read(self, rollouts: Sequence[Rollout]) -> Opinion:
        """Its opinion of these rollouts, of one after the other; called without a gradient."""

    def expect(self, rollouts: Sequence[Rollout]) -> None:  # noqa: B027 (most need not)
        """Told what it will be asked of in a moment, so that it may ask for all of it at once."""

    def attend(  # noqa: B027 (most never wait)
        self, *, poll: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        """Told whom to ask whether to stop while it waits, and how to speak to the user."""

    def texts(
        self,
        examples: Sequence[Example],
        sampling: Sampling,
        *,
        seed: int,
    ) -> dict[str, Response]:
        """Its own response to each example, by id; asked only of those that write.

        Args:
            examples: what is asked.
            sampling: how tokens are chosen.
            seed: of all draws.

        Raises:
            DistillkitError: it has none of them.
        """
        raise NotImplementedError

    @property
    def identity(self) -> Mapping[str, str]:
        """What tells it from others that a run's settings do not tell; kept in the run directory.

        A run that goes on with another one says so.
        """
        return {}

    @property
    def costs(self) -> Costs:
        """What it has taken to ask it so far, by this process."""
        return Costs()


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a run wants to know of its teacher, and where that may be kept."""

    support: Support | None
    """On which entries the two are compared; None where nothing is."""
    drawn: bool
    """Whether it wants to know how likely each token of a text is."""
    precision: str
    """``fp32`` or ``bf16``, of models that are loaded."""
    folder: Path
    """Where answers are kept that were expensive; shared by all runs of an output."""


@dataclass(kw_only=True, slots=True)
class OnlyReads(Readable, ABC):
    """A teacher that is no model of this process: it is not measured.

    A component of the group ``teacher``. What it gives is asked for before anything is loaded.
    """

    def writes(self) -> bool:
        """Whether it has text of its own, as ``policy=seq_kd`` learns from."""
        return False

    @abstractmethod
    def gives(self) -> Sequence[Support]:
        """The densest supports that its opinions have: what lies within one of them, it can tell.

        Raises:
            DistillkitError: what it would be asked of cannot be read.
        """

    @abstractmethod
    def tells_drawn(self) -> bool:
        """Whether it says how likely it finds each token of a text."""

    @abstractmethod
    def open(self, student: "LanguageModel", asked: Asked) -> Reader:
        """The reader, ready to be asked about this student's ids.

        Raises:
            DistillkitError: it cannot be asked, or not about these ids.
        """
