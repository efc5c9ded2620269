"""GSM8K: grade-school problems with worked solutions (arXiv:2110.14168, MIT)."""

import re
from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.answers import MARK, last_number, normalise_number
from distillkit.datasets.base import ask
from distillkit.datasets.json_lines import Values
from distillkit.datasets.source import Row, RowDataset

PROMPT = """{question}

Reason step by step. End with the final number alone on a line, after ####."""

CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


@spec("dataset/gsm8k")
class Gsm8k(RowDataset):
    """Judged by the final number. Validation is the last rows of train; none was published."""

    revision: str = "cc7b047b6e5bb11b4f1af84efc572db110a51b3c"
    """Commit of openai/gsm8k on the hub."""

    HUB: ClassVar = ("openai/gsm8k", "main")
    HUB_SPLITS: ClassVar = {Split.train: "train", Split.test: "test"}
    FOLDER: ClassVar = (Split.train, Split.test)

    def normalise(self, values: Values, place: str) -> Values:
        solution = values["answer"]
        return {
            "id": f"gsm8k-{place}",
            "question": values["question"],
            "rationale": solution,
            "answer": solution.rpartition(MARK)[2].strip(),
        }

    def example(self, row: Row) -> Example:
        question = row.question("question")
        answer = normalise_number(row.text("answer"))
        if answer is None:
            raise row.error(f"has answer={row.text('answer')}, which is not a number")
        rationale = row.filled("rationale", so="no work leads to the answer")
        work = CALCULATOR_MARK.sub("", rationale).rsplit(MARK, 1)[0].rstrip()
        return Example(
            id=row.id,
            prompt=ask(PROMPT.format(question=question)),
            reference=f"{work}\n{MARK} {answer}",
            answer=answer,
        )

    def extract(self, text: str) -> str | None:
        return last_number(text)
