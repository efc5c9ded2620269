"""What asking a teacher has taken."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of asking, as sums."""

    tokens: int = 0
    """Tokens of prompts and responses that the teacher read."""
    bytes: int = 0
    """That came from a server or a file."""
    seconds: float = 0.0
    """That were waited for it."""
    price: float = 0.0
    """In the currency that prices were given in."""

    def __add__(self, other: Self) -> "Costs":
        return Costs(
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.seconds + other.seconds,
            self.price + other.price,
        )
