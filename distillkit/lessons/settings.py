"""How a teacher of this process writes lessons."""

from dataclasses import dataclass, fields
from typing import ClassVar

from distillkit.core.bounds import MORE_THAN_ZERO, check_range
from distillkit.models.sampling import Sampling


@dataclass(kw_only=True, slots=True)
class Writing(Sampling):
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
        Sampling.__post_init__(self)
        check_range(self, "writing.", MORE_THAN_ZERO, "retry_temperature")

    def sampling(self, attempt: int) -> Sampling:
        """How an attempt is decoded, 0 for the first."""
        shared = {field.name: getattr(self, field.name) for field in fields(Sampling)}
        return Sampling(**shared | ({"temperature": self.retry_temperature} if attempt else {}))
