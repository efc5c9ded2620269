"""What sets the configuration of a run directory apart from the one that is asked for, by field."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from distillkit.compose import Composed
from distillkit.core.errors import RunError
from distillkit.core.fingerprint import NOT_IN_FINGERPRINT
from distillkit.core.reading import read_yaml
from distillkit.core.rundir import WAY_OUT, RunDirectory

SHOWN = 4
"""Fields that are named; of more, only the number is told."""

OPTION = "option"
"""Key of a group's option in a run.yaml."""

Differences = Mapping[str, tuple[Any, Any]]
"""Values by field, there and here; an absent field is None."""


def check_same(directory: RunDirectory, composed: Composed) -> None:
    """Refuse a directory that holds another configuration, or that is damaged; touch nothing.

    Raises:
        RunError: it does; the fields that differ are named.
    """
    record = directory.record
    if record is not None and record["fingerprint"] != composed.fingerprint:
        raise other_configuration(directory, differences(directory, composed))
    directory.check(composed.fingerprint)


def differences(directory: RunDirectory, composed: Composed) -> Differences:
    """Fields that count and whose values differ, as they are typed.

    Raises:
        RunError: the directory's run.yaml is damaged.
    """
    there = dict(_leaves(read_yaml(directory.path / "run.yaml", dict[str, Any], way_out=WAY_OUT)))
    here = dict(_leaves(yaml.safe_load(composed.yaml())))
    return {
        field: (there.get(field), here.get(field))
        for field in here | there
        if there.get(field) != here.get(field)
    }


def _leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict) or not values:
        yield prefix.removesuffix("."), values
        return
    for key, value in values.items():
        if prefix or key not in NOT_IN_FINGERPRINT:
            # A group is typed by its own name.
            yield from _leaves(value, prefix if key == OPTION else f"{prefix}{key}.")


def other_configuration(directory: RunDirectory, found: Differences, *, why: str = "") -> RunError:
    """The refusal of a directory that holds something else.

    Args:
        directory: the run directory.
        found: what differs.
        why: what else is to be said of it, as a sentence.
    """
    named = [f"{field} is {there} there and {here} here" for field, (there, here) in found.items()]
    more = len(named) - SHOWN
    told = ", ".join(named[:SHOWN]) + (f", and {more} more" if more > 0 else "")
    if not named:
        told = "all values are the same, but an option, what it reads, or the version differs"
    return RunError(
        f"the run directory {directory.path} holds another configuration: {told}.{why and ' '}{why}"
        " Choose another name with name=..., or delete the directory."
    )
