"""SVAMP: one- and two-step problems that punish shallow reading (arXiv:2103.07191, MIT)."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.answers import MARK, last_number, normalise_number
from distillkit.datasets.base import ask
from distillkit.datasets.json_lines import Values
from distillkit.datasets.source import Row, RowDataset

PROMPT = """{question}

Reason step by step. End with the final number alone on a line, after ####."""


@spec("dataset/svamp")
class Svamp(RowDataset):
    """All 1,000 problems are the test split, as chain-of-thought papers score them.

    There is nothing to train on, unless ``path`` has a ``train.jsonl``. References are the bare
    answer; a row's rationale comes before it where its last number is that answer. The hub keeps
    the same rows in another order, so ``test=100`` picks others there.
    """

    revision: str = "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef"
    """Commit of ChilleD/SVAMP on the hub."""

    HUB: ClassVar = ("ChilleD/SVAMP", None)
    HUB_SPLITS: ClassVar = {Split.test: "train+test"}
    FOLDER: ClassVar = (Split.test,)

    def normalise(self, values: Values, place: str) -> Values:
        return {
            "id": f"svamp-{values['ID']}",
            "question": f"{values['Body'].strip()} {values['Question'].strip()}",
            "answer": values["Answer"],
        }

    def example(self, row: Row) -> Example:
        answer = normalise_number(row.text("answer"))
        if answer is None:
            raise row.error(f"has answer={row.text('answer')}, which is not a number")
        work = row.optional("rationale").strip()
        lead = f"{work}\n" if last_number(work) == answer else ""
        return Example(
            id=row.id,
            prompt=ask(PROMPT.format(question=row.question("question"))),
            reference=f"{lead}{MARK} {answer}",
            answer=answer,
        )

    def extract(self, text: str) -> str | None:
        return last_number(text)
