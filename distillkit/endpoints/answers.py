"""What the package ``openai`` brings back from a server: completions and errors, read by us."""

import os
from math import isfinite
from types import ModuleType
from typing import Any

from distillkit.core.errors import ConfigError
from distillkit.endpoints.bounded import Malformed
from distillkit.endpoints.replies import quoted

PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that another attempt may mend."""
UNREADABLE = (ValueError, RecursionError)
"""What the package lets pass where a body is no JSON, or one that no reader takes."""


def package() -> ModuleType:
    """The package, imported where a server is asked and nowhere else.

    Raises:
        ConfigError: it is missing.
    """
    try:
        import openai
    except ImportError as error:
        raise ConfigError(
            "Asking a server needs the package openai: pip install 'distillkit[judge]'"
        ) from error
    return openai


def secret(variable: str) -> str:
    """The key in an environment variable, "" where it is unset.

    Raises:
        ConfigError: it can be no key. The HTTP client's own error would quote it.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(
            f"The environment variable {variable} holds characters that no key has. Set it again."
        )
    return key


def status_of(error: Exception) -> int | None:
    """The status that the server answered with, where that is what failed."""
    cause = error.__cause__ if isinstance(error.__cause__, Malformed) else error
    return getattr(cause, "status_code", None)


def is_final(error: Exception) -> bool:
    """Whether the same request would fail again."""
    if getattr(error, "code", None) == "insufficient_quota":
        return True
    status = status_of(error)
    return status is not None and status < 500 and status not in PASSING


def asked_for(error: Exception) -> float:
    """Seconds that the server asks to be left alone; 0 where it does not say, or gives a date."""
    response = getattr(error, "response", None)
    try:
        seconds = float(response.headers.get("retry-after", 0)) if response is not None else 0.0
    except ValueError:
        return 0.0
    return seconds if isfinite(seconds) else 0.0


def reason(error: Exception, key: str) -> str:
    """What happened, in one short line and without the key."""
    cause = error.__cause__ if type(error).__name__ == "APIConnectionError" else None
    words = f"{type(cause).__name__}: {cause}" if cause else str(error) or type(error).__name__
    words = quoted(words, key)
    # Some servers say 500 where a model's name is wrong.
    broken = getattr(error, "status_code", None) == 500
    return f"{words}; its own log says why" if broken else words


def read(completion: Any) -> dict[str, Any]:
    """The first choice of a completion, as a reply's fields in JSON's types.

    Raises:
        Malformed: this is no completion.
    """
    if isinstance(completion, str):
        raise Malformed("a page that is not JSON", status_code=200)
    try:
        choice = completion.choices[0]
        text, ended = choice.message.content or "", choice.finish_reason
    except (AttributeError, LookupError, TypeError) as error:
        raise Malformed("status 200 without a completion") from error
    if not isinstance(text, str):
        raise Malformed("status 200 with a reply that is no text")
    usage = getattr(completion, "usage", None)
    return {
        # Half a surrogate pair, which JSON can spell and UTF-8 cannot, becomes a question mark.
        "text": text.encode(errors="replace").decode(),
        "prompt_tokens": _count(getattr(usage, "prompt_tokens", None)),
        "completion_tokens": _count(getattr(usage, "completion_tokens", None)),
        "finish_reason": ended if isinstance(ended, str) else None,
    }


def _count(value: Any) -> int | None:
    """A number of tokens, None where a server sends something else."""
    return value if type(value) is int and 0 <= value < 2**53 else None
