"""Ranges of numbers that are typed, refused before anything is built with them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from distillkit.core.errors import ConfigError

LONGEST = 1 << 20
"""Tokens of a response."""
MANY = 1 << 20
"""Rows, bins, draws or the like that are held in memory at once."""


def check_bound(field: str, value: int | None, most: int) -> None:
    """Refuse a size that no machine holds; ``field`` is named as the user types it.

    Raises:
        ConfigError: it is larger than ``most``.
    """
    if value is not None and value > most:
        raise ConfigError(f"{field} must be at most {most}, got {value}.")


class Range(NamedTuple):
    """Where a number must lie, and how that is said."""

    rule: str
    holds: Callable[[Any], bool]


POSITIVE = Range("be at least 1", lambda value: value >= 1)
ABOVE_ZERO = Range("be above 0", lambda value: value > 0)
FROM_ZERO = Range("be 0 or more", lambda value: 0 <= value < math.inf)
SHARE = Range("lie in [0, 1]", lambda value: 0 <= value <= 1)
BELOW_ONE = Range("lie in [0, 1)", lambda value: 0 <= value < 1)
INSIDE = Range("lie strictly between 0 and 1", lambda value: 0 < value < 1)
MORE_THAN_ZERO = ABOVE_ZERO._replace(rule="be more than 0")
ZERO_OR_MORE = Range("be 0 or more", lambda value: value >= 0)
"""As ``FROM_ZERO``, and without an end."""


def check_range(owner: object, prefix: str, allowed: Range, *names: str, hint: str = "") -> None:
    """Refuse a number outside its range; null passes.

    Args:
        owner: has the fields.
        prefix: what stands before a field as the user types it, ``loop.`` for one.
        allowed: where all of them must lie.
        names: of the fields.
        hint: what to do instead, a sentence.

    Raises:
        ConfigError: one lies elsewhere, or is no number.
    """
    for name in names:
        value = getattr(owner, name)
        if value is not None and not allowed.holds(value):
            more = f" {hint}" if hint else ""
            raise ConfigError(f"{prefix}{name} must {allowed.rule}, got {value}.{more}")


def check_least(owner: object, prefix: str, least: int, *names: str, hint: str = "") -> None:
    """Refuse a number below the least that it may be; null passes, ``hint`` ends the sentence.

    Raises:
        ConfigError: one is less.
    """
    for name in names:
        value = getattr(owner, name)
        if value is not None and value < least:
            raise ConfigError(f"{prefix}{name}={value} must be at least {least}{hint}.")
