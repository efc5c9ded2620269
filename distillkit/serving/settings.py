"""What a service takes from strangers, and no more."""

from dataclasses import dataclass

from distillkit.core.bounds import ABOVE_ZERO, LONGEST, POSITIVE, check_bound, check_range


@dataclass(kw_only=True, slots=True)
class LimitSettings:
    """Bounds of requests."""

    body_kb: int = 256
    """Kilobytes of a request's body."""
    body_seconds: float = 10.0
    """Seconds in which it must have arrived."""
    new_tokens: int = 512
    """Longest response that may be asked for."""
    waiting: int = 64
    """Requests that may wait; further ones are told to come back."""
    together: int = 8
    """Requests that are answered side by side, where they wait for the same kind of answer."""

    def __post_init__(self) -> None:
        whole = ("body_kb", "new_tokens", "waiting", "together")
        check_range(self, "limits.", POSITIVE, *whole)
        check_bound("limits.new_tokens", self.new_tokens, LONGEST)
        check_range(self, "limits.", ABOVE_ZERO, "body_seconds")
