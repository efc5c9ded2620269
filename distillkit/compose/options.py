"""Which option fills a group: shown with its fields, so that run.yaml can be composed again."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from distillkit.compose.typed import OPTIONAL
from distillkit.core.errors import RunError
from distillkit.core.spec import SPECS

OPTION = "option"
"""Key under which a component's name stands, before its fields."""

Options = dict[str, str | list[str] | None]
"""Groups, and what was chosen of each: one, several, or none."""

GROUPS = {field: group for group, field in OPTIONAL.items()}
"""Groups by the fields that they fill, where the names differ."""


def with_options(component: Any, value: Any) -> Any:
    """The plain values of a component with the names of the options in it."""
    if isinstance(component, dict) and isinstance(value, dict):
        return {key: with_options(component.get(key), inner) for key, inner in value.items()}
    if not is_dataclass(component) or not isinstance(value, dict):
        return value
    paths = {cls: path for path, cls in SPECS.items()}
    _, _, name = paths.get(type(component), "").rpartition("/")
    named = {OPTION: name} if "/" in paths.get(type(component), "") else {}
    return named | {
        key: with_options(getattr(component, key), inner) for key, inner in value.items()
    }


def without_options(values: dict[str, Any], cls: type) -> dict[str, Any]:
    """The plain values of run.yaml, as they were before :func:`with_options`.

    Raises:
        RunError: an option is none that is known here.
    """
    kinds = get_type_hints(cls)
    return {key: _without(key, value, kinds.get(key)) for key, value in values.items()}


def choices(values: dict[str, Any]) -> list[str] | None:
    """Overrides that choose the options of run.yaml; None where it names none, as older ones."""
    named = {key: value for key, value in values.items() if _names(value)}
    if not named:
        return None
    absent = [f"~{group}" for field, group in GROUPS.items() if values.get(field, "") is None]
    inside = [item for key, value in named.items() for item in _inside(key, value)]
    return [
        *(f"{GROUPS.get(key, key)}={value[OPTION]}" for key, value in named.items()),
        *absent,
        *inside,
    ]


def _inside(field: str, value: dict[str, Any]) -> Iterator[str]:
    """Overrides that choose the options of components by name inside of one of their kind."""
    top = field.partition(".")[0]
    group = GROUPS.get(top, top).partition("@")[0]
    for key, inner in value.items():
        for name, part in inner.items() if isinstance(inner, dict) else ():
            if _names(part):
                place = f"{field}.{key}.{name}"
                yield f"+{group}@{place}={part[OPTION]}"
                yield from _inside(place, part)


def options_of(values: dict[str, Any], picked: Options) -> Options:
    """What was chosen of every group.

    Args:
        values: of a run, as :func:`with_options` makes them.
        picked: what Hydra took for a group, by its yaml file. A list that is a group's default, and
            runs that are read back, are known by the components that they became alone.
    """
    filled = {group.rpartition("@")[2] for group in picked}
    became = {
        GROUPS.get(field, field): option
        for field, value in values.items()
        if field not in filled and (option := _became(field, value)) != []
    }
    return picked | became


def _became(field: str, value: Any) -> str | list[str] | None:
    """The option or options of a field, an empty list where it holds no component."""
    if _names(value):
        return str(value[OPTION])
    if value is None and field in GROUPS:
        return None
    inner = list(value.values()) if isinstance(value, dict) else []
    return [each[OPTION] for each in inner] if all(map(_names, inner)) else []


def _without(field: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is dict and isinstance(value, dict):
        inner = get_args(hint)[1]
        return {name: _without(f"{field}.{name}", each, inner) for name, each in value.items()}
    kind = _spec(hint)
    if kind is None or not isinstance(value, dict):
        return value
    if _names(value):
        kind = _named(field, value[OPTION], kind)
        value = {key: inner for key, inner in value.items() if key != OPTION}
    return without_options(value, kind)


def _names(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get(OPTION), str)


def _named(field: str, name: str, kind: type) -> type:
    for path, cls in SPECS.items():
        if path.rpartition("/")[2] == name and issubclass(cls, kind):
            return cls
    raise RunError(
        f"{field}={name} is no option that is known here. If it is a component of your own, give "
        "its file or module with --plugin."
    )


def _spec(hint: Any) -> type | None:
    """The dataclass of a field's type, which may be optional."""
    if get_origin(hint) in (Union, UnionType):
        hint = next((each for each in get_args(hint) if each is not type(None)), None)
    return hint if isinstance(hint, type) and is_dataclass(hint) else None
