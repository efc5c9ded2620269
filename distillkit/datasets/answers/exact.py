r"""Whether two mathematical expressions are equal, exactly, by SymPy's reading of LaTeX.

A decimal is the fraction that it writes, so 0.333 is not a third, and ``0.\overline{3}`` is.
"""

import re
from functools import lru_cache
from typing import Any

_REPEATING = re.compile(r"(?<![\d.])(\d*)\.(\d*)\\overline\{?(\d+)\}?")
_DECIMAL = re.compile(r"(?<![\d.])(\d*)\.(\d+)(?![\d.])")
_POWER_OF_DECIMAL = re.compile(r"\^(-?\d*\.\d+)")
_TOWER = re.compile(r"\^\{?(\d+)\^\{?(\d+)")
_TOO_LARGE = re.compile(r"\^\{?-?\d{6,}|\d{5,}\s*!|!\s*!|\^\{[^{}]*\^\{[^{}]*\^")

LARGEST = 6
"""Digits of the largest exponent of an exponent that is worked out."""
DIGITS = 60
"""Of a difference between irrational numbers that must vanish for them to count as equal."""
POINTS = ((2, 7), (-3, 5), (11, 3), (-13, 4), (17, 9), (5, 8))
"""Where expressions with variables are compared, as fractions; each variable has its own shift."""


def same_value(known: str, said: str) -> bool:
    """Whether two expressions are equal; not where one of them cannot be read."""
    if known == said:
        return True
    if _is_too_large(known) or _is_too_large(said):
        return False
    one, other = _read(known), _read(said)
    if one is None or other is None:
        return False
    return one == other or _are_equal(one, other)


def _is_too_large(text: str) -> bool:
    """Whether working it out would take for ever, by the look of its powers and factorials."""
    towers = _TOWER.finditer(text)
    return _TOO_LARGE.search(text) is not None or any(
        len(each[1]) * int(each[2][:6]) > LARGEST for each in towers
    )


def is_multiple(known: str, said: str) -> bool:
    """Whether one expression is the other times a number that is not zero."""
    import sympy

    one, other = _read(known), _read(said)
    if not (isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr)) or 0 in (one, other):
        return False
    factor = sympy.cancel(one / other)
    return bool(factor.is_number and factor != 0)


@lru_cache(maxsize=1 << 10)
def _read(text: str) -> Any:
    """SymPy's expression, None where there is none."""
    from math_verify import LatexExtractionConfig, parse

    text = _POWER_OF_DECIMAL.sub(r"^{\1}", _REPEATING.sub(_repeated, text))
    text = _DECIMAL.sub(_fraction, text)
    found = parse(f"${text}$", [LatexExtractionConfig()], parsing_timeout=None)
    return found[0] if found and not isinstance(found[0], str) else None


def _repeated(found: re.Match[str]) -> str:
    whole, fixed, again = found.groups()
    above = int(f"{whole}{fixed}{again}") - int(f"{whole}{fixed}" or 0)
    return rf"\frac{{{above}}}{{{10 ** len(fixed) * (10 ** len(again) - 1)}}}"


def _fraction(found: re.Match[str]) -> str:
    return rf"\frac{{{int(found[1] + found[2])}}}{{{10 ** len(found[2])}}}"


def _are_equal(one: Any, other: Any) -> bool:
    import sympy

    if not (isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr)):
        return False
    if one.has(sympy.oo, sympy.zoo, sympy.nan) or other.has(sympy.oo, sympy.zoo, sympy.nan):
        return False
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    if one.is_rational and other.is_rational and not symbols:
        return (
            bool(sympy.Rational(one) == sympy.Rational(other))
            if one.is_Rational and other.is_Rational
            else bool(sympy.simplify(one - other) == 0)
        )
    if not symbols:
        return _vanishes(one - other)
    difference = one - other
    if sympy.expand(difference) == 0:
        return True
    values = [
        difference.subs(
            {symbol: sympy.Rational(above + place, below) for place, symbol in enumerate(symbols)}
        )
        for above, below in POINTS
    ]
    known = [value for value in values if value.is_finite is not False]
    return bool(known) and all(_vanishes(value) for value in known)


def _vanishes(value: Any) -> bool:
    """Whether a number is zero, as far as its digits can tell."""
    import sympy

    if value.is_zero is not None or value.is_Rational:
        return bool(value == 0 or value.is_zero)
    found = sympy.Abs(value).evalf(15, maxn=4 * DIGITS)
    return bool(found.is_number and found < sympy.Rational(1, 10**DIGITS))
