"""MATH: competition problems with worked solutions and boxed answers (arXiv:2103.03874, MIT)."""

import re
from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.answers.latex import spelled
from distillkit.datasets.answers.statements import boxes, first_sentence, problems, statements
from distillkit.datasets.base import ask
from distillkit.datasets.equivalence import LONGEST, comparer
from distillkit.datasets.json_lines import Values
from distillkit.datasets.source import Row, RowDataset

PROMPT = """{question}

Reason step by step. End with the final answer in \\boxed{{}}."""

_FORMULA = re.compile(r"\$\$?([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_REASON = re.compile(r",?\s+(?:because|since|which|where|so|when|if)\b.*", re.DOTALL)
_EMPHASIS = re.compile(r"\*\*|__|`")


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
        complete = not given or self.extract(work) == spelled(given)
        conclusion = "" if complete else f"The answer is $\\boxed{{{given}}}$."
        return Example(
            id=row.id,
            prompt=ask(PROMPT.format(question=row.question("question"))),
            reference="\n".join(filter(None, (work, conclusion))),
            answer=spelled(given),
        )

    def extract(self, text: str) -> str | None:
        for part in problems(text):
            boxed = last_boxed(part)
            if boxed is not None and boxed.strip():
                return _spelled(boxed) or None
            for statement in reversed(statements(part)):
                stated = _spelled(_stated(statement.text[: 4 * LONGEST]))
                if stated:
                    return stated
        return None

    def is_correct(self, example: Example, text: str) -> bool:
        said = self.extract(text)
        if said is None or said == example.answer:
            return said is not None
        return comparer().same(example.answer, said)


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{...}`` that is closed, or None."""
    return max(boxes(text), default=(0, None))[1]


def _spelled(answer: str) -> str:
    """In one spelling, unless it is so long that it is a model stuck on something."""
    return spelled(answer) if len(answer) <= LONGEST else answer.strip()


def _stated(said: str) -> str:
    """The first formula of what follows an announcement, else its first sentence."""
    formula = _FORMULA.search(said)
    if formula is not None:
        return next(filter(None, formula.groups()))
    return _EMPHASIS.sub("", _REASON.sub("", first_sentence(said)))
