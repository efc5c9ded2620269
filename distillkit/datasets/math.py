"""MATH: competition problems with worked solutions and boxed answers (arXiv:2103.03874, MIT)."""

import re
from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.answers import normalise_number
from distillkit.datasets.base import ask
from distillkit.datasets.equivalence import comparer
from distillkit.datasets.json_lines import Values
from distillkit.datasets.source import Row, RowDataset

PROMPT = """{question}

Reason step by step. End with the final answer in \\boxed{{}}."""

_BOX = re.compile(r"\\f?boxed\s*\{")
_ANNOUNCED = re.compile(r"\banswer(?:\s+is|:)\s*:?\s*\$([^$]+)\$", re.IGNORECASE)
_UNIT = re.compile(r"(?<=[\w}])\s*\\(?:text|mbox|mathrm)\s*\{\s[^{}]*\}(?:\^\{?\d\}?)?$")
_WORDS = re.compile(r"\\(?:text|textbf|mbox|mathrm)\s*\{([^{}]*)\}")
_IGNORED = re.compile(
    r"\\(?:left|right)(?![a-zA-Z])|(?<!\\)\\[!,;: ]|\\?[%$]|\^\{\s*\\circ\s*\}|\^\\circ(?![a-zA-Z])"
)
_SPACE = re.compile(r"(?<![A-Za-z])\s+|\s+(?![A-Za-z])")


@spec("dataset/math")
class Math(RowDataset):
    """Judged by meaning: ``\\frac{1}{2}`` is ``0.5``, and ``(x + 1)^2`` is ``x^2 + 2x + 1``.

    The hub has the first 7,500 and 5,000 problems; validation is the last rows of train. A row
    without a rationale has the boxed answer alone as its reference. Two rows of the hub's have no
    answer and are not judged.
    """

    revision: str = "0530c78699ea5e8eb5530600900e1f328b48acad"
    """Commit of DigitalLearningGmbH/MATH-lighteval on the hub."""

    HUB: ClassVar = ("DigitalLearningGmbH/MATH-lighteval", "default")
    HUB_SPLITS: ClassVar = {Split.train: "train", Split.test: "test"}
    FOLDER: ClassVar = (Split.train, Split.test)

    def normalise(self, values: Values, place: str) -> Values:
        return {
            "id": f"math-{place}",
            "question": values["problem"],
            "rationale": values["solution"],
            "answer": last_boxed(values["solution"]) or "",
        }

    def example(self, row: Row) -> Example:
        given = row.text("answer")
        work = row.optional("rationale").strip()
        # What a reader of the reference takes from it must be the answer.
        complete = not given or self.extract(work) == one_spelling(given)
        conclusion = "" if complete else f"The answer is $\\boxed{{{given}}}$."
        return Example(
            id=row.id,
            prompt=ask(PROMPT.format(question=row.question("question"))),
            reference="\n".join(filter(None, (work, conclusion))),
            answer=one_spelling(given),
        )

    def extract(self, text: str) -> str | None:
        boxed = last_boxed(text)
        if boxed is None:
            announced = _ANNOUNCED.findall(text)
            boxed = announced[-1] if announced else ""
        return one_spelling(boxed) or None

    def is_correct(self, example: Example, text: str) -> bool:
        said = self.extract(text)
        if said is None or said == example.answer:
            return said is not None
        return comparer().same(example.answer, said)


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{...}`` that is closed, or None."""
    for start in reversed([found.end() for found in _BOX.finditer(text)]):
        depth = 1
        # A brace behind a backslash is a sign, not a bracket.
        for found in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
            depth += {"{": 1, "}": -1}.get(found[0], 0)
            if depth == 0:
                return text[start : found.start()]
    return None


def one_spelling(answer: str) -> str:
    r"""Without what changes no meaning: sizes, spaces, units, percent, degree and dollar signs.

    Plain numbers come out as ``normalise_number`` spells them.
    """
    plain = answer.strip().rstrip(".").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    plain = _IGNORED.sub("", plain)
    plain = _WORDS.sub(r"\1", _UNIT.sub("", plain.strip()))
    plain = _SPACE.sub("", plain.strip())
    return normalise_number(plain) or plain
