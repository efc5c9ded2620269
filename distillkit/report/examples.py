"""Answers side by side, chosen by rule, with the words marked on which they differ."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any

Item = Mapping[str, Any]

EACH = 2
"""Examples of a kind."""
LONGEST = 1500
"""Characters of a text that are shown."""

RULE = (
    "Of each kind the first two in the order of the dataset, an example once: newly right, newly "
    "wrong, still wrong, and unlike the teacher, whose final answer is another."
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Words in a row, marked where the teacher has others."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One model's text."""

    who: str
    """Start, student or teacher."""
    verdict: str
    """``right``, ``wrong`` or ``not judged``."""
    answer: str | None
    """The final answer, None where none can be read."""
    truncated: bool
    """Whether the length limit cut the text."""
    pieces: tuple[Piece, ...]
    """The text, marked where it differs from the teacher's."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One example with all its answers."""

    kind: str
    id: str
    prompt: str
    expected: str | None
    answers: tuple[ShownAnswer, ...]


def choose(items: Sequence[Item]) -> tuple[Shown, ...]:
    """The examples of :data:`RULE`, by kind."""
    taken: set[str] = set()
    chosen = []
    for kind, belongs in KINDS.items():
        found = [item for item in items if item["id"] not in taken and belongs(item)][:EACH]
        taken |= {item["id"] for item in found}
        chosen += [_shown(kind, item) for item in found]
    return tuple(chosen)


def count(items: Sequence[Item]) -> dict[str, int]:
    """How many examples belong to each kind; one may belong to two."""
    return {kind: sum(map(belongs, items)) for kind, belongs in KINDS.items()}


def mark(text: str, against: str) -> tuple[Piece, ...]:
    """The text in pieces; marked are words that are not in ``against`` at their place."""
    words, others = (re.findall(r"\S+|\s+", side) for side in (text, against))
    pieces = []
    for tag, start, end, _, _ in SequenceMatcher(None, words, others, autojunk=False).get_opcodes():
        pieces += [Piece(word, tag != "equal" and not word.isspace()) for word in words[start:end]]
    return tuple(
        Piece("".join(piece.text for piece in row), marked)
        for marked, row in groupby(pieces, key=lambda piece: piece.marked)
    )


def _verdicts(item: Item) -> tuple[bool | None, ...]:
    """Whether the start was right, and whether the student is."""
    return tuple((item["texts"].get(who) or {}).get("correct") for who in ("start", "student"))


def _differs(item: Item) -> bool:
    student, teacher = (item["texts"].get(who) for who in ("student", "teacher"))
    if student is None or teacher is None:
        return False
    key = "answer" if teacher.get("answer") is not None else "text"
    return student.get(key) != teacher.get(key)


KINDS: dict[str, Callable[[Item], bool]] = {
    "newly right": lambda item: _verdicts(item) == (False, True),
    "newly wrong": lambda item: _verdicts(item) == (True, False),
    "still wrong": lambda item: _verdicts(item) == (False, False),
    "unlike the teacher": _differs,
}
"""Which example belongs to a kind; one that belongs to several is of the first."""


def _shown(kind: str, item: Item) -> Shown:
    teacher = (item["texts"].get("teacher") or {}).get("text", "")
    return Shown(
        kind=kind,
        id=str(item["id"]),
        prompt=_clipped(str(item["prompt"])),
        expected=item.get("answer") or item.get("reference"),
        answers=tuple(
            _answer(who, item["texts"][who], teacher)
            for who in ("start", "student", "teacher")
            if item["texts"].get(who)
        ),
    )


def _answer(who: str, text: Mapping[str, Any], teacher: str) -> ShownAnswer:
    correct = text.get("correct")
    shown = _clipped(text["text"])
    plain = who == "teacher" or not teacher
    return ShownAnswer(
        who=who,
        verdict="not judged" if correct is None else "right" if correct else "wrong",
        answer=text.get("answer"),
        truncated=bool(text.get("truncated")),
        pieces=(Piece(shown, False),) if plain else mark(shown, _clipped(teacher)),
    )


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters)"
