r"""Equations between numbers, read out of free text, and whether they hold.

``48/2 = 24 clips``, ``$3 x (4 + 1) = $15``, chains such as ``2 * 3 + 4 = 6 + 4 = 10``, and the
calculator marks ``<<48/2=24>>`` of GSM8K (arXiv:2110.14168). What is not surely an equation is
passed over, so that nobody is blamed for algebra, clock times, hours less minutes, or words that
calculate, as in ``half of 20 + 4``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from distillkit.datasets.expressions import Expression, parse
from distillkit.datasets.gsm8k import CALCULATOR_MARK

TOLERANCE = Fraction(1, 1000)
"""Relative error of a result that was rounded."""
LONGEST = 60
"""Tokens of a side, and characters of a token, that are read; more are a model stuck on a digit."""

SIGNS = {"−": "-", "–": "-", "×": "*", "·": "*", "x": "*", "X": "*", "÷": "/"}
"""Signs as one writes them, to those of Python."""
CHANGING_WORDS = {
    *("times", "than", "plus", "minus", "divided", "multiplied", "twice", "double"),
    *("half", "third", "quarter", "fourth", "fifth", "tenth", "percent"),
    *("dozen", "hundred", "thousand", "million", "billion"),
}
"""Words that change what a number beside them is worth."""

_LATEX = {
    **{r"\times": "*", r"\cdot": "*", r"\div": "/", r"\%": "%"},
    **dict.fromkeys((r"\$", r"\(", r"\)", "**", "$"), " "),
}
_TIMES = r"[xX](?=\s*[\d(.])"
_LETTER = r"[^\W\d_](?!\w)"
_WORD = r"[^\W\d]\w+|[aAI]\b"
_TOKEN = re.compile(
    rf"""
    (?P<bullet> ^[ \t]*(?:\d+[.)]|[-*+•])[ \t] )
  | (?P<clock> \d+(?::\d+)+ )
  | (?P<number> (?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)?%? | \.\d+%? )
  | (?P<algebra> (?!{_TIMES}) (?:/[ \t]?)? (?!(?<!\d)[aAI]|(?<=['’])) {_LETTER} )
  | (?P<word> (?!{_TIMES}) (?:/[ \t]?)?(?:{_WORD})(?:[ \t](?:{_WORD}))*(?:/[ \t]?(?:{_WORD}))? )
  | (?P<sign> [-−–+*×·/÷] | {_TIMES} )
  | (?P<bracket> [()] )
  | (?P<equals> = )
  | (?P<other> [^ \t\r] )
    """,
    re.VERBOSE | re.MULTILINE,
)
_CALCULATING = ("number", "sign", "bracket")


@dataclass(frozen=True, slots=True)
class Equation:
    """A calculation and the result that a text states for it."""

    text: str
    """Both sides, ``48 / 2 = 24``."""
    operators: tuple[str, ...]
    """``+ - * /`` of the left side, in their order."""
    operands: tuple[Fraction, ...]
    """Its numbers, in their order."""
    left: Fraction
    """What it really makes."""
    stated: Fraction
    """What it is said to make."""
    holds: bool
    """Whether that is so, or is rounded from it."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def symbol(self) -> str:
        """As :func:`parse` takes it."""
        return "n" if self.kind == "number" else SIGNS.get(self.text, self.text)

    def decimals(self, percent: Fraction) -> int:
        """Digits after the point of a number, where ``%`` is worth so much."""
        digits = len(self.text.rstrip("%").partition(".")[2])
        return digits + 2 if percent < 1 and self.text.endswith("%") else digits

    def number(self, percent: Fraction) -> Fraction:
        """Its value, where ``%`` is worth so much."""
        value = Fraction(self.text.rstrip("%").replace(",", ""))
        return value * percent if self.text.endswith("%") else value


@dataclass(slots=True)
class _Side:
    """One side of an equation."""

    tokens: list[_Token] = field(default_factory=list)
    """What calculates: numbers, signs, brackets."""
    units: set[str] = field(default_factory=set)
    """Names of what is counted."""
    doubtful: bool = False
    """Something beside it may change what it is worth."""


def false_equations(text: str) -> list[Equation]:
    """Equations that do not hold, in their order."""
    return [equation for equation in equations(text) if not equation.holds]


def equations(text: str) -> list[Equation]:
    """All equations of a text in their order; those of calculator marks alone come last."""
    written = list(_read(CALCULATOR_MARK.sub("", text)))
    marked = [found for mark in CALCULATOR_MARK.findall(text) for found in _read(mark[2:-2])]
    return [*written, *(found for found in marked if found not in written)]


def _read(text: str) -> Iterator[Equation]:
    for latex, plain in _LATEX.items():
        text = text.replace(latex, plain)
    tokens = [
        _Token((found.lastgroup or "") if len(found[0]) <= LONGEST else "other", found[0])
        for found in _TOKEN.finditer(text)
    ]
    for place, token in enumerate(tokens):
        if token.kind == "equals":
            left = _left_side(tokens[max(0, place - LONGEST) : place])
            right = _right_side(tokens[place + 1 : place + 1 + LONGEST])
            found = _equation(left, right)
            if found is not None:
                yield found


def _left_side(tokens: Sequence[_Token]) -> _Side:
    """What stands right before an equals sign."""
    side = _Side()
    for place in reversed(range(len(tokens))):
        token, before = tokens[place], tokens[place - 1] if place else None
        if token.kind in _CALCULATING:
            side.tokens.insert(0, token)
        elif _is_unit(token, before, side.tokens[0] if side.tokens else None):
            side.units.add(_unit(token))
        else:
            # A minus behind a word takes away from what the word stands for.
            signed = [each.kind for each in side.tokens[:1]] == ["sign"]
            cut = signed and token.kind != "bullet" and token.text not in "=:\n"
            side.doubtful = cut or _changes(token, slice(-2, None))
            break
    else:
        side.doubtful = len(tokens) == LONGEST
    while side.tokens and side.tokens[0].text == "(" and _open_brackets(side.tokens) > 0:
        side.tokens.pop(0)  # opened before the equation: (3 + 4 = 7)
    return side


def _right_side(tokens: Sequence[_Token]) -> _Side:
    """What stands right after an equals sign."""
    side = _Side()
    for place, token in enumerate(tokens):
        before = side.tokens[-1] if side.tokens else None
        after = tokens[place + 1] if place + 1 < len(tokens) else None
        if token.kind == "number" and before is not None and before.kind == "number":
            side.doubtful = True  # a mixed number, maybe
            break
        if token.kind in _CALCULATING:
            side.tokens.append(token)
        elif token.kind == "word" and before is not None and _counts(before):
            side.units.add(_unit(token))
            side.doubtful = _changes(token, slice(1))
            if not _is_unit(token, before, after):
                break
        else:
            unfinished = token.kind == "word" and before is not None
            side.doubtful = unfinished or _changes(token, slice(1))
            break
    else:
        side.doubtful = len(tokens) == LONGEST
    return side


def _is_unit(token: _Token, before: _Token | None, after: _Token | None) -> bool:
    """Whether a word between these names what is counted, and nothing else."""
    joined = after is None or after.kind in ("sign", "equals") or after.text == ")"
    counted = before is not None and _counts(before)
    return token.kind == "word" and counted and joined and not _changes(token, slice(None))


def _open_brackets(tokens: Sequence[_Token]) -> int:
    texts = [token.text for token in tokens]
    return texts.count("(") - texts.count(")")


def _counts(token: _Token) -> bool:
    return token.kind == "number" or token.text == ")"


def _unit(word: _Token) -> str:
    return word.text.strip("/ ").split()[0].lower().rstrip("s")


def _changes(token: _Token, part: slice) -> bool:
    """Whether a variable, a clock time, or one of some words changes the numbers beside it."""
    words = token.text.lower().split()
    part_of_a_number = words[:1] == ["of"] and len(words) <= 2
    return (
        token.kind in ("clock", "algebra")
        or part_of_a_number
        or not CHANGING_WORDS.isdisjoint(words[part])
    )


def _equation(left: _Side, right: _Side) -> Equation | None:
    """The equation of two sides; None where it is none, or may be true in another reading."""
    calculation = _parse(left.tokens)
    if calculation is None or not calculation.operators or left.doubtful:
        return None
    readings = [
        found
        # Per cent are hundredths in 20% * 50 = 10, and numbers in 80% + 20% = 100.
        for percent in (Fraction(1), Fraction(1, 100))
        # In 5 * 2 = 10 + 3 = 13 the first sign of equality speaks of 10 alone.
        for result in (_first_number(right.tokens), right.tokens)
        if (found := _reading(calculation, left.tokens, result, percent)) is not None
    ]
    true = next((found for found in readings if found.holds), None)
    mixed = len(left.units | right.units) > 1 and set(calculation.operators) != {"*"}
    if true is not None or not readings or mixed or right.doubtful:
        return true
    return readings[0]


def _reading(
    calculation: Expression, left: Sequence[_Token], result: Sequence[_Token], percent: Fraction
) -> Equation | None:
    stated, operands = _parse(result), _numbers(left, percent)
    value = calculation.value(operands)
    said = stated.value(_numbers(result, percent)) if stated else None
    if value is None or said is None:
        return None
    return Equation(
        text=f"{_text(left)} = {_text(result)}",
        operators=calculation.operators,
        operands=operands,
        left=value,
        stated=said,
        holds=_is_result(value, said, max(token.decimals(percent) for token in result)),
    )


def _is_result(value: Fraction, stated: Fraction, decimals: int) -> bool:
    """Whether the stated number, of so many decimals, is the value or rounded from it."""
    scale = 10**decimals
    if (value * scale).denominator == 1:
        return value == stated
    return abs(value - stated) <= max(Fraction(1, 2 * scale), abs(value) * TOLERANCE)


def _first_number(tokens: Sequence[_Token]) -> Sequence[_Token]:
    signed = bool(tokens) and tokens[0].symbol == "-"
    return tokens[: 1 + signed]


def _parse(tokens: Sequence[_Token]) -> Expression | None:
    return parse([token.symbol for token in tokens])


def _numbers(tokens: Sequence[_Token], percent: Fraction) -> tuple[Fraction, ...]:
    return tuple(token.number(percent) for token in tokens if token.kind == "number")


def _text(tokens: Sequence[_Token]) -> str:
    symbols = (token.text if token.kind == "number" else token.symbol for token in tokens)
    return " ".join(symbols).replace("( ", "(").replace(" )", ")")
