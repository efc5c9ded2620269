r"""Where a text says that now comes the answer: ``####``, ``\boxed{}``, ``The answer is``."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from distillkit.core.thoughts import spoken
from distillkit.datasets.answers.typography import typed

MARK = "####"
"""Announces the answer to a problem in GSM8K's rationales (arXiv:2110.14168)."""

_LONGEST = 12_000
"""Characters that are read, half from the beginning and half from the end."""

_NEXT = re.compile(
    r"""
    ^ [#>*_ \t]{0,12} (?:
        (?:question|problem|exercise|instruction|human|user|q)
        (?:[ \t]?[#№]?\d{1,4})? [*_]{0,2} [ \t]? :
      | (?:question|problem|exercise|q) [ \t]? [#№]?\d{1,4} [*_]{0,2} [ \t]? [.):]
      | (?:question|problem|exercise) (?:[ \t]?\d{1,4})? [*_ \t]{0,4} $
    )
    | <\|im_start\|>\s?user | <\|user\|> | <\|start_header_id\|>user | \[INST\]
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
"""Opens a question, which is the next one where an answer stands before it."""

NOUNS = ("answer", "final result")
"""What is announced in words."""

_MARK = re.compile(rf"{MARK}#*|^###(?=[ \t]*[-+$*`]*[\d,.]+[*`%. \t]*$)", re.MULTILINE)
"""Three are a heading, unless a number stands there alone."""

_BRACE = re.compile(r"(?P<box>\\+f?boxed\s*\{)|\\.|[{}]", re.DOTALL)

_OF_PARTS = "".join(
    rf"(?<!\b{which}[ ])"
    for which in (
        "first",
        "second",
        "third",
        "fourth",
        "previous",
        "wrong",
        "incorrect",
        "other",
        "last",
    )
)
_TO_WHAT = r"(?:[ \t]+(?:to|for|of)[ \t][^.:\n]{0,60}?)?"
_VERB = (
    r"(?:is|are|was|be|being|equals|(?:must|should|would|will|could|has[ \t]to)[ \t]be"
    r"|comes[ \t](?:out[ \t])?to)"
)
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"'”)*_$]|$)|\n")


class Kind(StrEnum):
    """How an answer is announced."""

    mark = "mark"
    box = "box"
    words = "words"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said after an announcement."""

    kind: Kind
    """Of the announcement."""
    text: str
    """The rest of the line, the content of the box, or the rest of the line after words; where that
    is empty, the next line."""
    start: int
    """Where it stands."""

    @property
    def sentence(self) -> str:
        """Its first sentence."""
        return first_sentence(self.text)


def problems(text: str) -> list[str]:
    """What was said, cut where a next question begins; blank parts are left out."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}\n{text[-_LONGEST // 2 :]}"
    text = typed(text)
    said = spoken(text) or text
    starts = [0, *(found.start() for found in _NEXT.finditer(said)), len(said)]
    parts = [said[start:end] for start, end in itertools.pairwise(starts)]
    return [part for part in parts if part.strip()]


def statements(text: str, *, nouns: tuple[str, ...] = NOUNS) -> list[Statement]:
    """All that is announced in one problem's text, in order.

    Args:
        text: in plain spelling.
        nouns: what announces, with ``is`` or a colon.
    """
    boxed = (Statement(Kind.box, content, start) for start, content in boxes(text))
    found = [*_marked(text), *boxed, *_announced(text, nouns)]
    return sorted(found, key=lambda each: each.start)


def first_sentence(text: str) -> str:
    """Up to a stop before white space, or the end of the line."""
    text = text.lstrip()
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text


def boxes(text: str) -> Iterator[tuple[int, str]]:
    r"""Place and content of every ``\boxed{...}`` that is closed, as they close."""
    opened: list[tuple[int, int] | None] = []
    # A brace behind a backslash is a sign, not a bracket.
    for found in _BRACE.finditer(text):
        if found.lastgroup:
            opened.append(found.span())
        elif found[0] == "{":
            opened.append(None)
        elif found[0] == "}" and opened and (box := opened.pop()) is not None:
            yield box[0], text[box[1] : found.start()]


def _marked(text: str) -> Iterator[Statement]:
    for start, rest in _up_to_the_next(text, _MARK):
        yield Statement(Kind.mark, rest.partition("\n")[0], start)


def _announced(text: str, nouns: tuple[str, ...]) -> Iterator[Statement]:
    for start, rest in _up_to_the_next(text, _announcing(nouns)):
        yield Statement(Kind.words, _line(rest), start)


def _up_to_the_next(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Place of each match, and the text between it and the next."""
    found = list(pattern.finditer(text))
    ends = [*(each.start() for each in found[1:]), len(text)]
    for each, end in zip(found, ends, strict=False):
        yield each.start(), text[each.end() : end]


@cache
def _announcing(nouns: tuple[str, ...]) -> re.Pattern[str]:
    said = rf"[ \t*_]{{0,6}}(?:[:=]+|-+>?[ \t]|—|→)|[ \t]{{1,4}}{_VERB}\b[ \t*_]{{0,6}}:?"
    return re.compile(
        rf"{_OF_PARTS}(?<![/\w])(?:{'|'.join(nouns)})\b{_TO_WHAT}(?:{said})", re.IGNORECASE
    )


def _line(rest: str) -> str:
    """The first line of a text that holds more than signs."""
    for line in rest.split("\n"):
        if any(character.isalnum() or ord(character) > 127 for character in line):
            return line
    return ""
