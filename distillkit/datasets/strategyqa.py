"""StrategyQA: yes or no, by facts the question does not name (arXiv:2101.02235, MIT)."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.answers import last_yes_or_no
from distillkit.datasets.base import ask
from distillkit.datasets.json_lines import Values
from distillkit.datasets.source import Row, RowDataset

ANSWERS = ("yes", "no")
STATEMENT = "The answer is {answer}."

PROMPT = """{question}

Reason step by step. End with "The answer is yes." or "The answer is no.\""""


@spec("dataset/strategyqa")
class StrategyQa(RowDataset):
    """Judged by the last yes or no. The official test answers are secret.

    A local folder has the authors' train and dev split, and **its validation split is also its
    test split**. The hub copy cuts the same questions into 1,603 and 687, calls the second test,
    and has its validation carved from train: numbers of the two are not comparable.
    """

    revision: str = "705562638fe1d8ca6bb98c66fc8f94d45fda8c83"
    """Commit of ChilleD/StrategyQA on the hub."""

    HUB: ClassVar = ("ChilleD/StrategyQA", None)
    HUB_SPLITS: ClassVar = {Split.train: "train", Split.test: "test"}
    FOLDER: ClassVar = (Split.train, Split.validation)

    def normalise(self, values: Values, place: str) -> Values:
        facts = values["facts"]
        return {
            "id": f"strategyqa-{values['qid']}",
            "question": values["question"],
            "rationale": facts if isinstance(facts, str) else " ".join(facts),
            "answer": "yes" if values["answer"] else "no",
        }

    def example(self, row: Row) -> Example:
        answer = row.text("answer")
        if answer not in ANSWERS:
            raise row.error(f"has answer={answer}, which is neither yes nor no")
        facts = row.filled("rationale", so="no facts lead to the answer").strip()
        return Example(
            id=row.id,
            prompt=ask(PROMPT.format(question=row.question("question"))),
            reference=f"{facts}\n{STATEMENT.format(answer=answer)}",
            answer=answer,
            options=tuple(STATEMENT.format(answer=each) for each in ANSWERS),
        )

    def extract(self, text: str) -> str | None:
        return last_yes_or_no(text)
