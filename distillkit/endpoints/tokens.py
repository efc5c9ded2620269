"""Token ids that go to a server and come back: what is scored, what is written, in arrays."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from distillkit.endpoints.questions import Answer, Question

MASS = 1e-3
"""By which rounding may have the probabilities of some entries add up to more than 1."""


class Misfit(Exception):  # noqa: N818 (words for an error that names the server)
    """A reply that is not about what was asked; its words go on after the server's name."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """A response whose tokens are to be scored, T of them."""

    prompt: tuple[int, ...]
    """As the served model reads it."""
    response: tuple[int, ...] = field(repr=False)
    k: int = 0
    """Likeliest entries that are wanted at each position; 0 for the response's token alone."""
    ids: NDArray[np.uint32] | None = field(default=None, repr=False)
    """Entries of one's own that are wanted in their place [T, K]."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and response."""
        return (*self.prompt, *self.response)


class Scores(NamedTuple):
    """What a server says of a response's T positions, in nats."""

    ids: NDArray[np.uint32]
    """Entries, likeliest first unless they were asked for [T, K]."""
    log_probs: NDArray[np.float32]
    """Of the entries [T, K]."""
    drawn: NDArray[np.float32]
    """Of the response's tokens [T]."""

    def packed(self) -> bytes:
        """As safetensors."""
        arrays = {name: np.ascontiguousarray(each) for name, each in self._asdict().items()}
        return bytes(save(arrays))

    @classmethod
    def unpacked(cls, data: bytes) -> "Scores":
        """What :meth:`packed` made."""
        return cls(**load(data))

    def check(self, asked: Scoring) -> "Scores":
        """Refuse numbers that are no log-probabilities.

        Raises:
            Misfit: one is not finite, or they add up to more than a whole.
        """
        if not (np.isfinite(self.log_probs).all() and np.isfinite(self.drawn).all()):
            raise Misfit("sent log-probabilities that are not finite; its own log may say why")
        sums = np.exp(self.log_probs.astype(np.float64)).sum(-1)
        most = max(sums.max(initial=0.0), float(np.exp(self.drawn.astype(np.float64)).max()))
        if most > 1 + MASS:
            place = int(sums.argmax())
            raise Misfit(
                f"sent probabilities that add up to {most:.4g} at position {place}, so they are "
                "none; a vLLM server must run with --logprobs-mode raw_logprobs, its default"
            )
        assert len(self.drawn) == len(asked.response)
        return self


@dataclass(frozen=True, slots=True)
class Writing:
    """A prompt whose response is to be written."""

    prompt: tuple[int, ...]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    max_tokens: int
    seed: int
    stops: tuple[int, ...]
    """Tokens that end it."""


class Text(NamedTuple):
    """What a server wrote."""

    tokens: tuple[int, ...]
    """With the token that ended it."""
    cut: bool
    """Whether the limit on its length ended it."""


class Engine(Protocol):
    """How a kind of server is asked for scores, and how its replies are read."""

    NAME: str
    """As its makers call it."""
    OWN: bool
    """Whether it may score entries of one's own at each position."""
    WRITES: bool
    """Whether it writes the same text by the same seed."""

    def version(self, root: str) -> Question:
        """Asks which it is, at the address without ``/v1``."""

    def said_version(self, answer: Answer) -> str | None:
        """Its version; None where this is another kind of server."""

    def scoring(self, model: str, root: str, asked: Scoring) -> Question:
        """Asks for scores."""

    def scores(self, answer: Answer, asked: Scoring) -> Scores:
        """Reads them.

        Raises:
            Misfit: they are not of what was asked.
            Malformed: they cannot be read, and another attempt may bring better ones.
        """

    def refusal(self, status: int, why: str, *, field: str, k: int) -> str | None:
        """A sentence on a refusal whose mending is known."""


def check_echo(sent: tuple[int, ...], echoed: Any) -> None:
    """Refuse a reply about other ids than those that were sent.

    Raises:
        Misfit: they differ.
    """
    if not isinstance(echoed, list):
        raise Misfit("did not send back the ids that it read, so nothing shows that they are ours")
    if len(echoed) != len(sent):
        raise Misfit(
            f"read {len(echoed)} tokens where {len(sent)} were sent; something between adds tokens "
            "or cuts them"
        )
    for place, (ours, theirs) in enumerate(zip(sent, echoed, strict=True)):
        if ours != theirs:
            raise Misfit(f"read the id {theirs} at position {place}, where {ours} was sent")
