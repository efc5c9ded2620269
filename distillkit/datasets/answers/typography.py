r"""One plain spelling of what models write with Unicode, Markdown and LaTeX."""

import re
import unicodedata

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SPACES = dict.fromkeys((0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")
_INVISIBLE = dict.fromkeys((0x00AD, *range(0x200B, 0x2010), 0x2060, 0xFEFF))
_SIGNS = {ord(sign): "-" for sign in "−‐‑–﹣"} | {0x2044: "/", 0x2215: "/", 0x2019: "'"}
_TABLE = _FULL_WIDTH | _SPACES | _INVISIBLE | _SIGNS

_FRACTIONS = {
    chr(code): unicodedata.normalize("NFKC", chr(code)).replace("⁄", "/")
    for code in (*range(0xBC, 0xBF), *range(0x2150, 0x215F), 0x2189)
    if chr(code) != "⅟"
}
_FRACTION = re.compile(f"[{''.join(_FRACTIONS)}]")

_FONTS = r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:bf|rm|it|sf|bb)|mbox|emph|boldsymbol)"
_FONT = re.compile(rf"{_FONTS}\s*\{{([^{{}}]*)\}}")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,;:! ]|,\s?\\!)(?=\d{3}(?!\d))")
_LATEX_FRACTION = re.compile(
    r"\\[dtc]?frac\s*(?:\{\s*(-?\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))"
)
_LATEX = {
    **{r"\times": "*", r"\cdot": "*", r"\div": "/", "×": "*", "÷": "/", "·": "*"},
    **{r"\$": "$", r"\%": "%", r"\left": "", r"\right": "", r"\!": ""},
    **dict.fromkeys((r"\,", r"\;", r"\:", r"\ ", "~", r"\(", r"\)", r"\[", r"\]", r"\quad"), " "),
}
_COMMAND = re.compile("|".join(re.escape(written) for written in sorted(_LATEX, reverse=True)))
# Two stars between words or numbers are a power.
_EMPHASIS = re.compile(r"(?<!\w)(?:\*\*|__)|(?:\*\*|__)(?!\w)|`+")
_STARRED = re.compile(r"(?<![\w*])\*([^\s*](?:[^*\n]{0,98}[^\s*])?)\*(?![\w*])")


def typed(text: str) -> str:
    """With the characters of a keyboard: full-width forms, spaces, minus signs and fractions."""
    text = text.translate(_TABLE)
    # ``1½`` is ``1 1/2``.
    return _FRACTION.sub(lambda found: _apart(found, _FRACTIONS[found[0]]), text)


def plain(text: str) -> str:
    """Typed, without emphasis, and with numbers and words in LaTeX as one writes them without.

    Boxes stay.
    """
    text = _STARRED.sub(r"\1", _EMPHASIS.sub("", typed(text)))
    if "\\" in text or "{" in text:
        text = _THOUSANDS.sub(",", _FONT.sub(r"\1", text))
        text = _LATEX_FRACTION.sub(_slashed, text)
    return _COMMAND.sub(lambda found: _LATEX[found[0]], text)


def _slashed(found: re.Match[str]) -> str:
    above, below = found[1] or found[2], found[3] or found[4]
    return _apart(found, f"{above}/{below}")


def _apart(found: re.Match[str], fraction: str) -> str:
    """A fraction, with a space behind the whole number that it follows."""
    start = found.start()
    return f" {fraction}" if start and found.string[start - 1].isdigit() else fraction
