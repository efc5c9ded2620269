"""What every test reports: the number, how sure it is, and what it was made of."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

AS_GIVEN = "as given"
"""Selection rule of numbers that nobody has chosen among."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One test and its estimate."""

    test: str
    """Its name, with what the interval is where the name does not say it."""
    estimate: float
    """Difference, correlation or statistic; NaN where it is not defined."""
    low: float | None
    """Lower end of the 95 % interval, None where there is none."""
    high: float | None
    """Upper end."""
    p: float | None
    """None where the test says nothing, as with input that does not vary."""
    n: int
    """How many units."""
    unit: str
    """What n counts, such as examples, seeds or pairs."""
    selection: str
    """The rule that produced the numbers, such as "last weights"."""
    statistic: float | None = None
    """The test's own, where it is neither the estimate nor undefined."""

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types; null for a number that is not finite."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value
