r"""Intervals of the real line, as brackets, unions and inequalities write them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from distillkit.datasets.answers.exact import same_value
from distillkit.datasets.answers.latex import enclosed, parts

_RELATION = re.compile(r"(<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|\\ne(?![a-zA-Z]))")
_VARIABLE = re.compile(r"[a-zA-Z]|\\[a-z]+")
_NO_VARIABLES = (r"\infty", r"\pi", "e", "i")
_MEMBER = re.compile(r"(?:[a-zA-Z]|\\[a-z]+)\\in(?![a-zA-Z])(.+)", re.DOTALL)
_TURNED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}
_BEFORE, _AFTER = r"-\infty", r"\infty"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Interval:
    """From one end to another, each of which may belong to it."""

    start: str
    end: str
    has_start: bool
    has_end: bool


def intervals(text: str) -> list[Interval] | None:
    """The intervals of a union, None where the text is none."""
    member = _MEMBER.fullmatch(text)
    found: list[Interval] = []
    text = member[1] if member else text
    for part in parts(text) if _RELATION.search(text) else text.split(r"\cup"):
        pieces = _bracketed(part) or _inequality(part)
        if pieces is None:
            return None
        found += pieces
    return found


def paired_off(
    known: Sequence[Item], said: Sequence[Item], same: Callable[[Item, Item], bool]
) -> bool:
    """Whether each of one has one of the other for itself, in any order."""
    left = list(said)
    if len(known) != len(left):
        return False
    for each in known:
        place = next((p for p, other in enumerate(left) if same(each, other)), None)
        if place is None:
            return False
        del left[place]
    return True


def are_same(one: Interval, other: Interval) -> bool:
    """Whether two intervals have the same ends."""
    return (
        (one.has_start, one.has_end) == (other.has_start, other.has_end)
        and same_value(one.start, other.start)
        and same_value(one.end, other.end)
    )


def _bracketed(text: str) -> list[Interval] | None:
    inside = enclosed(text)
    if inside is None or r"\{" in inside or r"\}" in inside:
        return None
    ends = parts(inside[1])
    if len(ends) != 2:
        return None
    start, end = (end.replace(r"+\infty", r"\infty") for end in ends)
    return [Interval(start, end, inside[0] == "[", inside[2] == "]")]


def _inequality(text: str) -> list[Interval] | None:
    sides = _RELATION.split(text)
    names = [side for side in sides[::2] if _VARIABLE.fullmatch(side) and side not in _NO_VARIABLES]
    if len(names) != 1 or len(sides) not in (3, 5):
        return None
    place = sides.index(names[0])
    start, end, has_start, has_end = _BEFORE, _AFTER, False, False
    for sign, bound, turned in ((place - 1, place - 2, True), (place + 1, place + 2, False)):
        if not 0 <= bound < len(sides):
            continue
        relation = _TURNED[sides[sign]] if turned else sides[sign]
        if relation == r"\ne":
            value = sides[bound]
            return [Interval(_BEFORE, value, False, False), Interval(value, _AFTER, False, False)]
        if relation in (">", r"\ge"):
            start, has_start = sides[bound], relation == r"\ge"
        else:
            end, has_end = sides[bound], relation == r"\le"
    return [Interval(start, end, has_start, has_end)]
