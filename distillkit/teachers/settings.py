"""How a teacher of this process writes lessons."""

from dataclasses import dataclass
from typing import ClassVar

from distillkit.core.errors import ConfigError
from distillkit.models.sampling import Sampling


@dataclass(kw_only=True, slots=True)
class Writing:
    """How lessons are written, and written again where a text was refused."""

    FIELD: ClassVar = "writing"

    temperature: float = 0.0
    """Of the first attempt; 0 is greedy."""
    retry_temperature: float = 0.7
    """Of all later attempts; more than 0, or they would bring what was refused."""
    max_new_tokens: int = 512
    """Longest lesson; one that reaches it without ending is refused."""
    batch_size: int = 64
    """Lessons written side by side."""

    def __post_init__(self) -> None:
        checks = {
            "temperature": (self.temperature >= 0, "be 0 (greedy) or more"),
            "retry_temperature": (self.retry_temperature > 0, "be more than 0"),
            "max_new_tokens": (self.max_new_tokens >= 1, "be at least 1"),
            "batch_size": (self.batch_size >= 1, "be at least 1"),
        }
        for field, (holds, rule) in checks.items():
            if not holds:
                value = getattr(self, field)
                raise ConfigError(f"{self.FIELD}.{field} must {rule}, got {value}.")

    def sampling(self, attempt: int) -> Sampling:
        """Neutral sampling at the temperature of an attempt, 0 for the first."""
        return Sampling(
            temperature=self.retry_temperature if attempt else self.temperature,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
        )
