r"""Whether two spelled mathematical answers mean the same: lists, intervals, units, equations.

The form is read here and the values between are compared by :mod:`exact`. Rules of decision:

- ``x=5`` is 5, ``y=2x+3`` is 2x+3 and 2x-y+3=0, and x<3 is the interval of that.
- Lists, with commas or *and* or *or*, and sets have no order; tuples, vectors and matrices have.
- 50% is 50 and 0.5. An answer without a unit is taken to have the right one; 5 cm is 0.05 m.
- Words are compared in any case, a single letter as it stands.
"""

import re
from collections.abc import Callable
from functools import partial

from distillkit.datasets.answers.exact import is_multiple, same_value
from distillkit.datasets.answers.intervals import are_same, intervals, paired_off
from distillkit.datasets.answers.latex import enclosed, parts
from distillkit.datasets.answers.units import without_percent, without_unit

_DEEPEST = 8
"""Brackets in brackets that are looked into."""

_NAME = r"(?:\\?[A-Za-z]+|[A-Za-z])(?:_\{?\w+\}?)?'*(?:\([a-z](?:,[a-z])*\))?|\([a-z](?:,[a-z])+\)"
_ASSIGNED = re.compile(rf"((?:{_NAME}))(?:=|\\in)(.+)", re.DOTALL)
_EQUALS = re.compile(r"(?<![<>!\\])=")
_MATRIX = re.compile(r"\\begin\{([pbvV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
_TIME = re.compile(
    r"(\d{1,2})(?::([0-5]\d))?(?::00)?(?:\\text\{)?\s*(?:(a|p)\.?m\.?)?\}?", re.IGNORECASE
)
_WORDS = re.compile(r"(?:\\text\{)?[(]?[A-Za-z][A-Za-z' .-]*[)]?\}?")
_WORD_OR_NUMBER = re.compile(r"[A-Za-z]+|\d+")
_FONT = re.compile(r"\\text\{([^{}]*)\}")
_MONTH = re.compile(
    r"(?<![A-Za-z])(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?"
    r"|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![a-z])",
    re.IGNORECASE,
)
_BASED = re.compile(r"(-?[0-9A-Z]+)(?:_\{?(?:\\text\{)?(\w+)\}*)?")
_SIGNED = ((r"\pm", "+", "-"), (r"\mp", "-", "+"))

Rule = Callable[[str, str], bool | None]


def same(known: str, said: str, depth: int = 0) -> bool:
    """Whether they mean the same: the first rule that knows both decides."""
    if known == said or _plain(known) == _plain(said):
        return bool(known)
    if not said or depth > _DEEPEST:
        return False
    rules: tuple[Rule, ...] = (
        _as_words,
        _as_times,
        _as_dates,
        _as_ratios,
        _as_percentages,
        _as_digits_of_a_base,
        _as_matrices,
        _as_intervals,
    )
    for rule in rules:
        verdict = rule(known, said)
        if verdict is not None:
            return verdict
    for structure in (_as_lists, _as_equations, _as_tuples, _as_quantities):
        found = structure(known, said, depth + 1)
        if found is not None:
            return found
    return same_value(known, said)


def _plain(text: str) -> str:
    """Without fonts, spaces and braces that hold one sign."""
    return re.sub(r"\{(\w)\}", r"\1", _FONT.sub(r"\1", text).replace(" ", ""))


def _as_words(known: str, said: str) -> bool | None:
    if not (_WORDS.fullmatch(known) and _WORDS.fullmatch(said)):
        return None
    one, other = (_FONT.sub(r"\1", text).strip("() .") for text in (known, said))
    # Letters may be variables side by side, as in "ab".
    product = all(re.fullmatch(r"[a-z]{2,3}", text) for text in (known, said))
    if len(one) == 1 or len(other) == 1 or product:
        # "x" and "X" are two variables, as "a" and "A" are two choices.
        return one == other if len(one) == len(other) == 1 else None
    return " ".join(one.lower().split()) == " ".join(other.lower().split())


def _as_times(known: str, said: str) -> bool | None:
    found = [_TIME.fullmatch(text) for text in (known, said)]
    times = [each for each in found if each and (each[2] or each[3])]
    if len(times) < 2 or any(int(each[1]) > 24 for each in times):
        return None
    one, other = map(_minutes, times)
    if bool(times[0][3]) == bool(times[1][3]):
        return one == other
    plain = one if not times[0][3] else other
    return one == other or (plain < 13 * 60 and (one - other) % (12 * 60) == 0)


def _minutes(time: re.Match[str]) -> int:
    """Since midnight."""
    hour, minute = int(time[1]), int(time[2] or 0)
    if time[3]:
        hour = hour % 12 + (12 if time[3] in "pP" else 0)
    return 60 * hour + minute


def _as_dates(known: str, said: str) -> bool | None:
    if not (_MONTH.search(known) and _MONTH.search(said)):
        return None
    one, other = (
        sorted(
            word[:3] if word.isalpha() else word
            for word in _WORD_OR_NUMBER.findall(_FONT.sub(r"\1", text).lower())
            if word not in ("st", "nd", "rd", "th", "of", "the")
        )
        for text in (known, said)
    )
    return one == other


def _as_ratios(known: str, said: str) -> bool | None:
    one, other = parts(known, ":"), parts(said, ":")
    if len(one) < 2 and len(other) < 2:
        return None
    if len(one) == 1 or len(other) == 1:
        ratio, single = (one, said) if len(other) == 1 else (other, known)
        return len(ratio) == 2 and same_value(rf"\frac{{{ratio[0]}}}{{{ratio[1]}}}", single)
    return len(one) == len(other) and all(
        same_value(rf"({mine})\cdot({other[0]})", rf"({theirs})\cdot({one[0]})")
        for mine, theirs in zip(one[1:], other[1:], strict=True)
    )


def _as_percentages(known: str, said: str) -> bool | None:
    one, other = without_percent(known), without_percent(said)
    if one is None and other is None:
        return None
    if one is not None and other is not None:
        return same_value(one, other)
    percentage, plain = (one, said) if one is not None else (other, known)
    assert percentage is not None
    plain = without_unit(plain)[0]
    return same_value(percentage, plain) or same_value(rf"\frac{{{percentage}}}{{100}}", plain)


def _as_digits_of_a_base(known: str, said: str) -> bool | None:
    one, other = _BASED.fullmatch(known), _BASED.fullmatch(said)
    if one is None or other is None or not (one[2] or other[2]):
        return None
    return one[1] == other[1] and (one[2] == other[2] or not (one[2] and other[2]))


def _as_matrices(known: str, said: str) -> bool | None:
    one, other = _MATRIX.fullmatch(known), _MATRIX.fullmatch(said)
    if one is None and other is None:
        return None
    if one is None or other is None:
        return False
    rows = [[row.split("&") for row in each[2].split(r"\\") if row] for each in (one, other)]
    if [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
        return False
    cells = [[cell for row in each for cell in row] for each in rows]
    return all(same(mine, theirs, 1) for mine, theirs in zip(*cells, strict=True))


def _as_intervals(known: str, said: str) -> bool | None:
    if enclosed(known) and enclosed(said):
        return None
    one, other = intervals(known), intervals(said)
    if one is None or other is None:
        return None
    return paired_off(one, other, are_same)


def _as_lists(known: str, said: str, depth: int) -> bool | None:
    one, other = _elements(known), _elements(said)
    if len(one) < 2 and len(other) < 2:
        return None
    return paired_off(one, other, partial(same, depth=depth))


def _elements(text: str) -> list[str]:
    """Those of a list or a set; of a name that is one of several, the values."""
    named = _ASSIGNED.fullmatch(text)
    text = named[2] if named and not _is_relation(named[2]) else text
    inside = enclosed(text)
    if inside is not None and inside[::2] == (r"\{", r"\}"):
        text = inside[1]
    return [each for part in parts(text) if part for each in _both_signs(part)]


def _both_signs(text: str) -> tuple[str, ...]:
    if r"\pm" not in text:
        return (text,)
    above, below = text, text
    for sign, plus, minus in _SIGNED:
        above, below = above.replace(sign, plus), below.replace(sign, minus)
    return (above.removeprefix("+"), below.removeprefix("+"))


def _is_relation(text: str) -> bool:
    return _EQUALS.search(text) is not None or any(
        sign in text for sign in ("<", ">", r"\le", r"\ge")
    )


def _as_equations(known: str, said: str, depth: int) -> bool | None:
    one, other = (_EQUALS.split(text) for text in (known, said))
    if len(one) == 1 and len(other) == 1:
        return None
    if len(one) == len(other) == 2:
        if one[0] == other[0] and re.fullmatch(_NAME, one[0]):
            return same(one[1], other[1], depth)
        return is_multiple(*(f"({left})-({right})" for left, right in (one, other)))
    values = [_value(sides) for sides in (one, other)]
    return None not in values and same(values[0] or "", values[1] or "", depth)


def _value(sides: list[str]) -> str | None:
    """What is said to be equal to a name or, after steps, the last of them."""
    if len(sides) == 1 or re.fullmatch(_NAME, sides[0]):
        return sides[-1]
    if re.fullmatch(_NAME, sides[-1]):
        return sides[0]
    return sides[-1] if not re.search(r"(?<!\\)\b[a-z]\b|\d[a-z]", sides[0]) else None


def _as_tuples(known: str, said: str, depth: int) -> bool | None:
    one, other = enclosed(known), enclosed(said)
    if one is None or other is None:
        return None
    mine, theirs = parts(one[1]), parts(other[1])
    if len(mine) < 2 and len(theirs) < 2:
        return None
    return (
        one[::2] == other[::2]
        and len(mine) == len(theirs)
        and all(same(*pair, depth) for pair in zip(mine, theirs, strict=True))
    )


def _as_quantities(known: str, said: str, depth: int) -> bool | None:
    (one, mine), (other, theirs) = without_unit(known), without_unit(said)
    if (one, other) == (known, said):
        return None
    if mine is not None and theirs is not None:
        factor = mine.times(theirs)
        if factor is None:
            return False
        if factor != 1:
            return same_value(
                rf"({one})\cdot\frac{{{factor.numerator}}}{{{factor.denominator}}}", other
            )
    return same(one, other, depth)
