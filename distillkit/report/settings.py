"""Settings of a run as flat text, without the places of a machine: a report is shown to others."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ABSENT = "–"
"""Shown where a setting or number does not exist."""

LEFT_OUT = ("name", "output", "tracker", "device", "guard")
"""Settings that say where a run goes and who watches, not what it is."""

PLACE = re.compile(r"(?<![^\s=:,'\"\[({])[/~][^\s,'\"\])}]*/([^\s,'\"\])}/]+)")
"""A path from the root or from home, and its last name."""


def settings_of(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, str]:
    """Flat settings as text; an older run.yaml does not name what fills its groups."""
    kept = {key: value for key, value in config.items() if key not in LEFT_OUT}
    chosen = [item.partition("=") for item in overrides if "=" in item]
    names = {
        key_of(key): value
        for key, _, value in chosen
        if isinstance(config.get(key_of(key), {}), Mapping) and "." not in key
    }
    settings = {key: value for key, value in names.items() if key not in LEFT_OUT}
    settings |= dict(_flat(kept, ""))
    return settings


def key_of(override: str) -> str:
    """The field or group that an override sets."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def without_places(text: str) -> str:
    """The text with only the last name of each path from the root or from home."""
    return PLACE.sub(r"…/\1", text)


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            # A group is called by its option: divergence, not divergence.option.
            group = prefix if key == "option" else f"{prefix}.{key}"
            yield from _flat(inner, group if prefix else str(key))
    else:
        yield prefix, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"…/{Path(text).name}" if text.startswith(("/", "~")) else without_places(text)
