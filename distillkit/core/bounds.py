"""Sizes beyond which nothing can be meant, refused before anything of that size is built."""

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
