"""Numbers as one writes them, and the one that a text gives as its answer.

They come back in one spelling each, so that equal numbers are equal strings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from distillkit.datasets.answers.statements import (
    MARK,
    Kind,
    Statement,
    first_sentence,
    problems,
    statements,
)
from distillkit.datasets.answers.typography import plain

_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_PLAIN = rf"(?:{_WHOLE}(?:\.\d+)?|(?<!\w)\.\d+)(?:[eE][+-]?\d{{1,2}}(?!\d))?"
# A minus that follows a word, a number or a bracket subtracts; any other is a sign.
NUMBER = rf"(?:(?<![\w)\]}}])[-−])?(?:\$[-−]?)?{_PLAIN}(?:/{_PLAIN})?"
"""Digits with thousands commas, decimals, a sign, a dollar, a power of ten or a denominator."""

_CURRENCY = r"(?:[$€£¥₹]|US\$|USD\ |Rs\.?\ )"
_SPACED = r"(?<!\d[ '.,])\d{1,3}(?:(?:[ ]\d{3})+|(?:'\d{3})+)(?![\d]|[ ']\d)"
_POWER = r"(?:[ ]?[*x][ ]?10\^(?:\{(?P<braced>[+-]?\d{1,2})\}|(?P<power>[+-]?\d{1,2})(?!\d)))"
_NUMBER = re.compile(
    rf"""
    (?P<sign> (?<![\w)\]}}])[-+] )?
    (?: {_CURRENCY}[ ]? (?P<inner>[-+])? )?
    (?: (?P<mixed> \d{{1,3}} )[ ](?P<above> \d{{1,3}} )/(?P<below> [1-9]\d{{0,3}} )(?![\d/])
      | (?P<plain> (?:{_SPACED}(?:\.\d+)? | {_PLAIN}) ) (?: /(?P<over> {_PLAIN}) )? {_POWER}?
    )
    """,
    re.VERBOSE,
)

_LONGEST = 100
"""Characters of the longest number that is read; longer ones are a model stuck on a digit."""
_READ = 2000
"""Characters after an announcement that are read."""

_CALCULATOR = re.compile(r"<<[^<>]*>>")
_UNITS = r"(?:[ ]?[%°]|[ ]?/?[ ]?[A-Za-z]{1,15}\b){0,4}"
_JOINED = re.compile(rf"{_UNITS}[ )]*(?P<signs>(?:[-+*/=x(^][ $(]*)+)")
_OR = re.compile(rf"{_UNITS}[ ,]*(?:or|and/or)[ ](?:[a-z]+[ ])?|[ ]to[ ]", re.IGNORECASE)
_APART = 60
"""Characters between two numbers of a choice, at most."""
_CALCULATED = re.compile(r"[-+*/=(] ?$")
_EQUALS = re.compile(r" ?=")
_NOT = re.compile(r"(?:\bnot|n't)(?: (?:equal to|just|only|exactly|be))? ?$", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween ?$", re.IGNORECASE)
_AT_ONCE = re.compile(
    r"\W*(?:(?:the|a|an|number|value|amount|total|final|answer|approximately|about|exactly|roughly"
    r"|simply|just|only|therefore|thus|then|so|equal|to|of|is|not|likely|probably|around|nearly"
    r"|either|between|now|still|actually|indeed|also|[a-z])\b[\s:=*_$(]*)*",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"\W*(?:step|part|case|method|option|approach|phase|stage)\s*\d", re.IGNORECASE
)
_NUMBERED = re.compile(r"\W*\d+[.)]\s+\w")
_FIRST = re.compile(r"\W*1[.)]\s+\w")


@dataclass(frozen=True, slots=True)
class _Found:
    """A number in a text; ``value`` is None where it is none that is read."""

    value: Fraction | None
    start: int
    end: int
    signed: bool


def normalise_number(text: str) -> str | None:
    """One spelling for each number: ``$1,200.50`` to ``1200.5``, ``42.0`` to ``42``.

    Returns:
        A whole number or a decimal, a reduced fraction where no short decimal is exact, or None
        where the text is not one number.
    """
    if len(text) > _LONGEST:
        return None
    text = plain(text).strip()
    found = _NUMBER.fullmatch(text)
    value = _value(found) if found else None
    return None if value is None else _spelt(value)


def last_marked_number(text: str) -> str | None:
    """The number right after the last ``####``, or None where there is no mark or no number."""
    _, mark, rest = text.rpartition(MARK)
    found = re.match(rf"[ \t*]*({NUMBER})", rest)
    return normalise_number(found[1]) if mark and found else None


def last_number(text: str) -> str | None:
    """The number after the last ``####``, else the one in the last box or after the last ``answer
    is``, else the last number anywhere, else None.
    """
    for part in map(plain, problems(text)):
        announced = _answers(part)
        for kinds in ((Kind.mark,), (Kind.box, Kind.words)):
            told = [each for each in announced if each.kind in kinds]
            found = _last_stated(told)
            if found is not None:
                return _spelt(found.value)
        found = _last_said(part)
        if found is not None:
            return _spelt(found.value)
    return None


def _answers(part: str) -> list[Statement]:
    """What is announced, without headings such as ``#### Step 2``."""
    found = statements(part)
    marked = [each.text for each in found if each.kind is Kind.mark]
    heading = _NUMBERED if any(map(_FIRST.match, marked)) else _HEADING
    return [
        each
        for each in found
        if each.kind is not Kind.mark or not (heading.match(each.text) or _HEADING.match(each.text))
    ]


def _last_stated(told: list[Statement]) -> _Found | None:
    """The last that follows its announcement at once, else the last in a sentence without other
    numbers.
    """
    distant = None
    for statement in reversed(told):
        said = _CALCULATOR.sub("", statement.text[:_READ])
        said = said if statement.kind is Kind.box else first_sentence(said)
        numbers = [found for found in _numbers(said) if not _NOT.search(said[: found.start])]
        if not numbers:
            continue
        found = _result(said, numbers)
        opening = _AT_ONCE.match(said)
        if opening is not None and opening.end() >= numbers[0].start:
            return found
        if distant is None and len({number.value for number in numbers}) == 1:
            distant = found
    return distant


def _result(said: str, numbers: list[_Found]) -> _Found:
    """What the first of these numbers says, with the calculation that it opens.

    Its value is None where no result is stated, or another number may as well be meant.
    """
    first, *others = numbers
    sides, last = [[first]], first
    for number in others:
        between = said[last.end : number.start]
        joined = _JOINED.fullmatch(between) if len(between) <= _APART else None
        signs = joined["signs"] if joined else "+" if number.signed and between.isspace() else ""
        if not signs.strip(" $("):
            break
        if "=" in signs:
            sides.append([])
        sides[-1].append(number)
        last = number
    single = [side[0] for side in sides if len(side) == 1]
    doubtful = replace(first, value=None)
    if len(sides) > 1 or last is not first:
        return single[-1] if single and len(sides) > 1 else doubtful
    if others and (_is_open(said, first, others[0]) or _BETWEEN.search(said[: first.start])):
        return doubtful
    return first


def _is_open(text: str, one: _Found, other: _Found) -> bool:
    """Whether one number or the other is meant, and they are not one in two forms."""
    between = text[one.end : other.start]
    if len(between) > _APART or not _OR.fullmatch(between):
        return False
    if one.value is None or other.value is None:
        return True
    # "100/5 = 5A/5 or 20 = A" and "$30 + $160 or $190" say the same once more.
    calculated = _CALCULATED.search(text, max(0, one.start - 3), one.start)
    said_again = calculated or _EQUALS.match(text, other.end)
    return not said_again and other.value not in (one.value, 100 * one.value, one.value / 100)


def _last_said(text: str) -> _Found | None:
    """The last number anywhere that is not denied; in doubt where it stands behind ``or``."""
    numbers = list(_numbers(text))
    for place in reversed(range(len(numbers))):
        found = numbers[place]
        if _NOT.search(text, max(0, found.start - 20), found.start):
            continue
        before = numbers[place - 1] if place else None
        if before is not None and _is_open(text, before, found):
            return replace(found, value=None)
        return found
    return None


def _numbers(text: str) -> Iterator[_Found]:
    for found in _NUMBER.finditer(text):
        value = _value(found) if len(found[0]) <= _LONGEST else None
        yield _Found(value, found.start(), found.end(), found["sign"] is not None)


def _value(found: re.Match[str]) -> Fraction | None:
    if found["mixed"] is not None:
        part = Fraction(int(found["above"]), int(found["below"]))
        size = part + int(found["mixed"]) if part < 1 else part
    else:
        above, below = (_plain_value(found[name] or "1") for name in ("plain", "over"))
        if above is None or not below:
            return None
        size = above / below * Fraction(10) ** int(found["braced"] or found["power"] or 0)
    return -size if "-" in (found["sign"], found["inner"]) else size


def _plain_value(text: str) -> Fraction | None:
    try:
        return Fraction(text.translate({ord(","): None, ord(" "): None, ord("'"): None}))
    except ValueError:
        return None


def _spelt(value: Fraction | None) -> str | None:
    """As a whole number, a decimal where a short one is exact, else a fraction."""
    if value is None:
        return None
    if value.denominator == 1:
        return str(value.numerator)
    decimal = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return decimal if Fraction(decimal) == value else str(value)
