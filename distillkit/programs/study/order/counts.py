"""How many steps of each method make equal tokens, and how many fit into equal time."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from distillkit.core.errors import ConfigError
from distillkit.run_studies import Equal


@dataclass(frozen=True, slots=True)
class Pace:
    """What a method took at equal steps."""

    steps: int
    tokens: float
    """Response tokens that were learnt from."""
    seconds: float
    """Of all updates."""
    writing: float = 0.0
    """Seconds in which the teacher wrote its text, before the first update; they count once."""

    def whole(self, equal: Equal) -> float:
        """All that it took."""
        return self.tokens if equal is Equal.tokens else self.seconds + self.writing

    def fitting(self, equal: Equal, given: float, *, multiple: int) -> int:
        """Steps that so much is enough for, to the nearest multiple; 0 where none is."""
        spent = self.tokens if equal is Equal.tokens else self.seconds
        left = given - (self.writing if equal is Equal.time else 0)
        return max(0, multiple * round(left * self.steps / spent / multiple))

    def as_dict(self) -> dict[str, float]:
        """In JSON's types."""
        return asdict(self)


def counts(paces: Mapping[str, Pace], equal: Equal, *, clock: str, multiple: int) -> dict[str, int]:
    """Steps of each method; the clock's own stay as they are.

    Raises:
        ConfigError: a method has not learnt a token, or its steps took no measurable time.
    """
    given = paces[clock].whole(equal)
    found = {}
    for name, pace in paces.items():
        if not (pace.tokens if equal is Equal.tokens else pace.seconds):
            raise ConfigError(
                f"equal={equal}: {pace.steps} steps of {name} are too few to be measured. Raise "
                "steps, or leave it out of equal."
            )
        fit = pace.fitting(equal, given, multiple=multiple)
        found[name] = pace.steps if name == clock else fit
    return found
