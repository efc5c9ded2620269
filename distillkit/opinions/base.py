"""What every opinion is, and everyone who has one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from jaxtyping import Float
from torch import Tensor

from distillkit.core.costs import Costs
from distillkit.core.types import Author, Example, PerToken, Response, Rollout
from distillkit.models.pretrained import Readable
from distillkit.models.sampling import Sampling
from distillkit.supports.base import Support, Told
from distillkit.supports.shared_ids import Shared

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.models.language_model import LanguageModel

Heard = Float[Tensor, "N W"] | Told | Shared
"""A teacher's logits of some positions [n, W], of its own ids beside those that both have, or
log-probabilities of the entries it tells."""


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
    def padded_parameters(self) -> int:
        """Numbers of this process that every token of padding is multiplied with; 0 for none."""
        return 0

    @abstractmethod
    def prompt_length(self, example: Example) -> int:
        """Tokens that stand before a response as it is read."""

    def length(self, rollout: Rollout) -> int:
        """Tokens of prompt and response as it reads them."""
        return self.prompt_length(rollout.example) + len(rollout.response.tokens)

    @abstractmethod
    def read(self, rollouts: Sequence[Rollout]) -> Opinion:
        """Its opinion of these rollouts, of one after the other; called without a gradient."""

    def know(self, examples: Sequence[Example]) -> None:  # noqa: B027 (most need not)
        """Told of the examples that it will be asked about, before anything else."""

    def foresee(self, rollouts: Iterable[Rollout]) -> None:  # noqa: B027 (most need not)
        """Told of all text that is known before the first update; refuses what it cannot read.

        Raises:
            DistillkitError: there is some.
        """

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
    def identity(self) -> Mapping[str, Any]:
        """What tells it from others that a run's settings do not tell: name, version, digest.

        Kept in the run directory; a run that goes on with another one says so.
        """
        return {}

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of how it was opened."""
        return ()

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

    def check_authors(self, authors: frozenset[Author]) -> None:
        """Refuse text that it cannot read, by who may write it.

        Raises:
            DistillkitError: there is some.
        """

    @abstractmethod
    def gives(self) -> Sequence[Support]:
        """The densest supports that its opinions have: what lies within one of them, it can tell.

        Raises:
            DistillkitError: what it would be asked of cannot be read.
        """

    @abstractmethod
    def tells_drawn(self) -> bool:
        """Whether it says how likely it finds each token of a text."""

    def check_asked(self, examples: Sequence[Example]) -> None:
        """Refuse examples that it cannot be asked about; called before any model is loaded.

        Args:
            examples: all that a run learns from.

        Raises:
            DataError: there is one.
        """

    @abstractmethod
    def open(self, student: "LanguageModel", asked: Asked) -> Reader:
        """The reader, ready to be asked about this student's ids.

        Raises:
            DistillkitError: it cannot be asked, or not about these ids.
        """
