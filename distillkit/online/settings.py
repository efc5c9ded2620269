"""Settings of learning while serving."""

from dataclasses import dataclass
from enum import StrEnum

from distillkit.core.bounds import (
    ABOVE_ZERO,
    FROM_ZERO,
    MANY,
    POSITIVE,
    SHARE,
    check_bound,
    check_range,
)
from distillkit.core.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class UpdateSettings:
    """When a draft learns, and from which positions."""

    interval: int | None = 8
    """Requests that are gathered for an update; null for a draft that never learns."""
    seconds: float | None = None
    """Update, too, when so much time has passed since the last one; a run that is repeated then
    differs."""
    rejected: float = 1.0
    """Weight of positions at which the target replaced a proposal."""
    others: float = 1.0
    """Weight of all other positions of the served text."""
    micro_batch_tokens: int = 16384
    """Padded tokens that go through a model side by side."""
    max_grad_norm: float = 1.0
    """The gradient's norm is cut to this."""

    def __post_init__(self) -> None:
        check_range(self, "update.", POSITIVE, "interval", "micro_batch_tokens")
        check_bound("update.interval", self.interval, MANY)
        check_range(self, "update.", ABOVE_ZERO, "seconds", "max_grad_norm")
        check_range(self, "update.", FROM_ZERO, "rejected", "others")
        if self.rejected == self.others == 0:
            raise ConfigError(
                "update.rejected=0 and update.others=0 leave nothing to learn. Raise one, or use "
                "update.interval=null for a draft that never learns."
            )


@dataclass(kw_only=True, slots=True)
class BufferSettings:
    """What is kept of requests that were served."""

    replay: float = 0.0
    """Share of old requests in every update, drawn from those that were kept."""
    capacity: int = 512
    """Old requests that are kept for that; the oldest leave."""
    keep: bool = False
    """Write kept requests to disk with every checkpoint. They are users' text."""

    def __post_init__(self) -> None:
        check_range(self, "buffer.", POSITIVE, "capacity")
        check_range(self, "buffer.", SHARE, "replay")
        if self.replay == 1:
            raise ConfigError("buffer.replay=1 leaves no room for what is new. Lower it.")
        if self.replay and not self.keep:
            raise ConfigError(
                f"buffer.replay={self.replay} needs old requests when the run is resumed, and "
                "buffer.keep=false forgets them. Set buffer.keep=true, which writes users' text to "
                "the run directory, or buffer.replay=0."
            )


@dataclass(kw_only=True, slots=True)
class OfflineSettings:
    """What a draft learns before the first request, from the target's text on prompts to come."""

    share: float = 0.0
    """Of the stream's requests, drawn at random; 0 for none."""
    epochs: int = 2
    """Passes over them."""
    batch_size: int = 32
    """Texts of one update."""
    lr: float | None = None
    """Learning rate at its peak, falling as a cosine after a warm-up; ``optimizer.lr`` if null."""

    def __post_init__(self) -> None:
        check_range(self, "offline.", SHARE, "share")
        check_range(self, "offline.", POSITIVE, "epochs", "batch_size")
        check_range(self, "offline.", ABOVE_ZERO, "lr")


@dataclass(kw_only=True, slots=True)
class ProbeSettings:
    """Held-out prompts of every domain on which drafts are measured."""

    every: int = 200
    """Requests from one measuring to the next; 0 for the end alone."""
    size: int = 32
    """Prompts of each domain, from its validation split."""

    def __post_init__(self) -> None:
        check_range(self, "probe.", FROM_ZERO, "every")
        check_range(self, "probe.", POSITIVE, "size")


class Routing(StrEnum):
    """Which draft proposes for a request."""

    none = "none"
    """One draft for all."""
    domain = "domain"
    """One for each domain, as the request names it."""
    classifier = "classifier"
    """One for each domain, as the words of the prompt suggest it."""
