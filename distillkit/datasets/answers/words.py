"""A short text as an answer."""

import re

from distillkit.datasets.answers.statements import MARK, Kind, problems, statements
from distillkit.datasets.answers.typography import plain

_STOP = re.compile(
    r"(?<![\s.][a-z])(?<![\s.][a-z]{2})(?<!^[a-z])(?<!^[a-z]{2})(?<!\bmrs)(?<!\bprof)(?<!\binc)(?<!\bgov)(?<!\bgen)(?<!\bcol)[.!?]\s+\S.*"
)
"""The end of a first sentence, with the rest; after no abbreviation."""


def last_words(text: str) -> str | None:
    """What follows the last ``####``, else what is in the last box or after the last ``answer
    is`` up to the end of its sentence, else the last line.

    In lower case with single spaces and without the final stop, to be compared as it is.
    """
    for part in map(plain, problems(text)):
        announced = statements(part)
        marked = [each for each in announced if each.kind is Kind.mark][-1:]
        for statement in reversed([*announced, *marked]):
            words = _tidy(statement.text)
            said = words if statement.kind is Kind.mark else _STOP.sub("", words)
            if _tidy(said):
                return _tidy(said)
        lines = [line for line in part.split("\n") if _tidy(line)]
        if lines and MARK not in part:
            return _tidy(lines[-1])
    return None


def _tidy(text: str) -> str:
    return " ".join(text.lower().split()).strip("\"'“”$ ").rstrip(".!").strip("\"'“” ")
