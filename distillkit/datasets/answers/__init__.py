"""Reads final answers out of responses: numbers, letters, yes or no, short text.

Four rules keep judging honest. What was asked counts, so that a text which runs on into a next
question is read up to there. An announced answer (``#### 42``, ``\\boxed{42}``, ``The answer is
(B)``) goes before a bare one. The *last* statement counts. And what cannot be read, or leaves the
choice open (``18 or 20``), is None, never a guess.
"""

from distillkit.datasets.answers.letters import last_letter
from distillkit.datasets.answers.numbers import (
    NUMBER,
    last_marked_number,
    last_number,
    normalise_number,
)
from distillkit.datasets.answers.statements import MARK
from distillkit.datasets.answers.words import last_words
from distillkit.datasets.answers.yes_no import last_yes_or_no

__all__ = [
    "MARK",
    "NUMBER",
    "last_letter",
    "last_marked_number",
    "last_number",
    "last_words",
    "last_yes_or_no",
    "normalise_number",
]
