"""Keys and tokens of the environment: none gets into a setting, a file or an error."""

import os
import re

from distillkit.core.errors import ConfigError

NAMED_SECRET = re.compile(r"(key|token|secret|password|passwd|credentials?)(_?\d+)?$", re.I)
"""Ends of names whose values are looked for in settings and errors."""

SHORTEST = 12
"""Characters of a value that is taken for a secret; a shorter one may be any word."""


def secrets() -> dict[str, str]:
    """Values of the environment that must not be seen, by the names of their variables."""
    return {
        name: value
        for name, value in os.environ.items()
        if NAMED_SECRET.search(name) and len(value) >= SHORTEST and "/" not in value[:1]
    }


def hidden(text: str) -> str:
    """A text with the names of variables in the place of their secret values."""
    for name, value in secrets().items():
        text = text.replace(value, f"<{name}>")
    return text


def refuse_secrets(where: str, text: str) -> None:
    """Refuse a setting that holds a secret's value.

    Raises:
        ConfigError: it does; the message names the variable alone.
    """
    for name, value in secrets().items():
        if value in text:
            raise ConfigError(
                f"{hidden(where)} holds the value of {name}, which run.yaml would show. Leave it "
                "out; what needs one reads the variable itself."
            )
