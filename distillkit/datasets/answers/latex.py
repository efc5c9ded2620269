r"""Mathematical answers in one spelling, and their parts between commas and in brackets."""

import re

from distillkit.datasets.answers.numbers import NUMBER, normalise_number
from distillkit.datasets.answers.typography import typed
from distillkit.datasets.answers.units import UNITS

_SYMBOLS = {
    **{"π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup "},
    **{"×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "±": r"\pm ", "∈": r"\in ", "°": r"^\circ "},
    **{"√": r"\sqrt ", "θ": r"\theta ", "²": "^2", "³": "^3", "∅": r"\emptyset ", "…": r"\ldots "},
}
_SYMBOL = re.compile(f"[{''.join(_SYMBOLS)}]")
_NAMES = {
    **{r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\leq": r"\le"},
    **{r"\geq": r"\ge", r"\neq": r"\ne", r"\dots": r"\ldots", r"\cdots": r"\ldots"},
    **{r"\leqslant": r"\le", r"\geqslant": r"\ge", r"\lt": "<", r"\gt": ">", r"\ast": r"\cdot"},
    **{
        r"\langle": "(",
        r"\rangle": ")",
        r"\lbrace": r"\{",
        r"\rbrace": r"\}",
        r"\degree": r"^\circ",
    },
    **dict.fromkeys((r"\left", r"\right", r"\displaystyle", r"\limits", r"\big", r"\Big"), ""),
    **dict.fromkeys((r"\bigl", r"\bigr", r"\Bigl", r"\Bigr", r"\bigg", r"\Bigg"), ""),
    **dict.fromkeys((r"\quad", r"\qquad"), " "),
}
_NAME = re.compile(r"\\[A-Za-z]+")
_SPACING = re.compile(r"(?<!\\)\\[!,;:> ]|~")
_GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:(?:\{,\}|,?\\[,!;: ]|,\\!)\d{3})+(?!\d)")
_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mathrm|mathbf|mathit|mbox|operatorname)\s*\{([^{}]*)\}"
)
_WHOLE_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_CONJUNCTION = re.compile(r",?\s*(?:\\text\{\s*,?\s*(?:and|or)\s*\}|(?<=\s)(?:and|or)(?=\s))\s*")
_CIRCLE = re.compile(r"\^\{?\s*\\circ\s*\}?")
_DOLLAR = re.compile(r"\\?\$")
_PLAIN_UNIT = re.compile(
    r"(?<=[\d}).])(\s*)(?<![A-Za-z\\])([A-Za-z]+(?:[ /][A-Za-z]+){0,3})\.?(\^\{?\d\}?)?$"
)
_SPACE = re.compile(r"(?<![A-Za-z])\s+|\s+(?![A-Za-z])")
_OPENING, _CLOSING = "([{", ")]}"


def spelled(answer: str) -> str:
    r"""Without what changes no meaning: sizes, spaces, fonts, signs of dollars, thousands commas.

    Words stand in ``\text{}`` unless they are all there is, ``and`` and ``or`` are commas, and
    plain numbers come out as ``normalise_number`` spells them.
    """
    plain = _SYMBOL.sub(lambda found: _SYMBOLS[found[0]], typed(answer))
    plain = _NAME.sub(lambda found: _NAMES.get(found[0], found[0]), plain.strip().strip("*"))
    plain = _GROUPED.sub(lambda found: re.sub(r"\D", "", found[0]), plain.strip().rstrip("."))
    plain = _CIRCLE.sub(r"\\text{degree}", _SPACING.sub(" ", _DOLLAR.sub("", plain)))
    plain = _FONT.sub(lambda found: rf"\text{{{' '.join(found[1].split())}}}", plain)
    plain = _CONJUNCTION.sub(",", plain)
    plain = _PLAIN_UNIT.sub(_as_text, plain.strip())
    whole = _WHOLE_TEXT.fullmatch(plain)
    plain = _SPACE.sub("", (whole[1] if whole else plain).strip())
    return (re.fullmatch(NUMBER, plain) and normalise_number(plain)) or plain


def _as_text(found: re.Match[str]) -> str:
    space, word, power = found[1], found[2], found[3] or ""
    known = word in UNITS or word.lower() in UNITS
    named = bool(space) and len(word.split()[0]) > 3
    if named or (known and (space or len(word) > 1)):
        return rf"\text{{{word}}}{power}"
    return found[0]


def parts(text: str, separator: str = ",") -> list[str]:
    """What a separator outside all brackets parts."""
    found, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
        elif sign == separator and depth == 0:
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def enclosed(text: str) -> tuple[str, str, str] | None:
    r"""Opening bracket, content and closing bracket, where one pair holds everything."""
    opening = r"\{" if text.startswith(r"\{") else text[:1]
    closing = r"\}" if text.endswith(r"\}") else text[-1:]
    if opening not in ("(", "[", r"\{") or closing not in (")", "]", r"\}"):
        return None
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth == 0 and place >= len(opening) - 1 and place < len(text) - 1 and place > 0:
            return None
    return (opening, text[len(opening) : len(text) - len(closing)], closing) if not depth else None
