"""What tells one run from another: all settings that may change a result."""

import hashlib
import json
from dataclasses import is_dataclass
from typing import Any

from distillkit.core.spec import ORIGINS

NOT_IN_FINGERPRINT = (
    "name",
    "output",
    "device",
    "tracker",
    "replies",
    "guard",
    "control",
    "placement",
)
"""Fields of a run that say where it is, where it goes and who watches it."""


def fingerprint_of(run: Any, config: dict[str, Any]) -> str:
    """16 hex digits of a run and of the same as plain resolved values."""
    # Values alone do not tell on_policy from off_policy: neither has a field.
    left_out = (*NOT_IN_FINGERPRINT, *getattr(run, "NOT_IN_FINGERPRINT", ()))
    classes = {key: _class_of(getattr(run, key)) for key in config}
    counted = {
        key: [classes[key], _counted(getattr(run, key), value)]
        for key, value in config.items()
        if key not in left_out and not getattr(getattr(run, key), "IMPLIED", False)
    }
    text = json.dumps(counted, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _class_of(component: Any) -> str | dict[str, Any]:
    """A component's class, with the digest of its source where that is the user's own.

    Of several components by name, the class of each.
    """
    if isinstance(component, dict) and component:
        return {str(name): _class_of(each) for name, each in component.items()}
    cls = type(component)
    return f"{cls.__qualname__} {ORIGINS[cls]}" if cls in ORIGINS else cls.__qualname__


def _counted(component: Any, value: Any) -> Any:
    """A component's values less those that it says change no result, with what it reads."""
    if isinstance(component, dict):
        return {name: _counted(component[name], value[name]) for name in component}
    if hasattr(component, "earlier"):
        value = component.earlier(value)
    value = _with_parts(component, value)
    left_out = getattr(component, "NOT_IN_FINGERPRINT", ())
    if not left_out:
        return value
    counted = {key: value[key] for key in value if key not in left_out}
    return counted | ({"digest": component.digest()} if hasattr(component, "digest") else {})


def _with_parts(component: Any, value: Any) -> Any:
    """A component's values; of components by name in it also their classes and their order."""
    if not is_dataclass(component) or not isinstance(value, dict):
        return value
    counted = {}
    for key, inner in value.items():
        part = getattr(component, key, None)
        if isinstance(part, dict) and any(map(is_dataclass, part.values())):
            each = ((name, part[name], inner[name]) for name in part)
            counted[key] = [[name, _class_of(one), _counted(one, own)] for name, one, own in each]
        else:
            counted[key] = inner
    return counted
