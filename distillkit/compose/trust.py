"""What only the command line of this very call may ask for, and values that no run may have."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from distillkit.core.errors import ConfigError
from distillkit.core.secrets import refuse_secrets
from distillkit.endpoints.access import Access
from distillkit.rewards.python import PythonFunction

LARGEST = 2**63
"""First whole number that no file format and no library takes."""

OWN_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Where a key may go though a file says so: this machine."""


def check_values(config: dict[str, Any]) -> None:
    """Refuse numbers, texts and secrets that could not be computed with, kept or shown.

    Raises:
        ConfigError: a value is not finite, too large, holds a character that no file takes, or is
            a key of the environment.
    """
    for field, value in leaves(config, ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{field} must be a finite number, got {value}.")
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise ConfigError(
                f"{field} must be a number of at most 64 bits, got {str(value)[:40]}."
            )
        for text in (field, value) if isinstance(value, str) else (field,):
            if re.search(r"[\0\ud800-\udfff]", text):
                raise ConfigError(
                    f"{field!r} holds a character that no file can ({value!r}). Remove it."
                )
            refuse_secrets(field, text)


def check_typed(run: Any, config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuse what makes this machine run code or hand out a key, unless it was typed.

    Args:
        run: the spec tree.
        config: the same as plain resolved values.
        overrides: as typed on the command line of this call, and no others.

    Raises:
        ConfigError: a file asks for it.
    """
    for field, value in leaves(config, ""):
        if field.rpartition(".")[2] == "trust_remote_code" and value is True:
            _ask(field, value, overrides, "the code of a model's repository would be run")
    for path, part in components(run, ""):
        if isinstance(part, PythonFunction):
            _ask(f"{path}.function", part.function, overrides, "importing it runs its code")
        if isinstance(part, Access):
            _check_endpoint(path, part, overrides)


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every plain value with its field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value


def components(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every spec of a tree with its field."""
    yield path, value
    fields = value if isinstance(value, dict) else getattr(value, "__dataclass_fields__", {})
    for name in fields:
        inner = value[name] if isinstance(value, dict) else getattr(value, name)
        if isinstance(inner, dict) or hasattr(inner, "__dataclass_fields__"):
            yield from components(inner, f"{path}.{name}" if path else str(name))


def _check_endpoint(path: str, endpoint: Access, overrides: Sequence[str]) -> None:
    variable = endpoint.key_variable
    if not os.environ.get(variable):
        return
    sent = f"the key in {variable} would be sent to {endpoint.url}"
    if variable != "OPENAI_API_KEY":
        _ask(f"{path}.key_variable", variable, overrides, sent)
    if urlsplit(endpoint.url).hostname not in OWN_HOSTS:
        _ask(f"{path}.url", endpoint.url, overrides, sent)


def _ask(field: str, value: Any, overrides: Sequence[str], why: str) -> None:
    if not any(item.lstrip("+").startswith(f"{field}=") for item in overrides):
        shown = str(value).lower() if isinstance(value, bool) else value
        raise ConfigError(
            f"{field}={shown} stands in a file, and {why}. If you trust it, type {field}={shown} "
            "on the command line."
        )
