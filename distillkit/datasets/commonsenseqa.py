"""CommonsenseQA: five choices, one of them sensible (arXiv:1811.00937, MIT)."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.answers import last_letter
from distillkit.datasets.base import ask
from distillkit.datasets.json_lines import Values
from distillkit.datasets.rows import Row, shown
from distillkit.datasets.source import RowDataset

LETTERS = "ABCDE"

STATEMENT = "The answer is ({letter})."

PROMPT = """{question}
{choices}

Reason step by step. End with "The answer is (X).", where X is the letter of one choice."""


@spec("dataset/commonsenseqa")
class CommonsenseQa(RowDataset):
    """Judged by the last letter. The official test labels are secret: **validation is also test**.

    Rationales are those of PaLM 540B (Distilling Step-by-Step, arXiv:2305.02301). One opens the
    reference where PaLM chose the right answer; elsewhere, and on the hub, which has none, the
    reference is the answer alone.
    """

    revision: str = "94630fe30dad47192a8546eb75f094926d47e155"
    """Commit of tau/commonsense_qa on the hub."""

    HUB: ClassVar = ("tau/commonsense_qa", None)
    HUB_SPLITS: ClassVar = {Split.train: "train", Split.validation: "validation"}
    FOLDER: ClassVar = (Split.train, Split.validation)

    def normalise(self, values: Values, place: str) -> Values:
        return {
            "id": f"csqa-{values['id']}",
            "question": values["question"],
            "choices": values["choices"]["text"],
            "label": values["choices"]["label"].index(values["answerKey"]),
        }

    def example(self, row: Row) -> Example:
        choices, label = _choices(row), row.values.get("label")
        if not isinstance(label, int) or label not in range(len(choices)):
            raise row.error(f"has label={label}, which is the position of no choice")
        listed = "\n".join(
            f"({letter}) {text}" for letter, text in zip(LETTERS, choices, strict=False)
        )
        statements = [STATEMENT.format(letter=letter) for letter in LETTERS[: len(choices)]]
        right = row.values.get("teacher_label") == label
        work = row.filled("rationale", so="no work leads to the answer").strip() if right else ""
        lead = f"{work}\n" if work else ""
        return Example(
            id=row.id,
            prompt=ask(PROMPT.format(question=row.question("question"), choices=listed)),
            reference=f"{lead}{statements[label]}",
            answer=LETTERS[label],
            options=tuple(statements),
        )

    def extract(self, text: str) -> str | None:
        return last_letter(text, LETTERS)


def _choices(row: Row) -> list[str]:
    choices = row.values.get("choices")
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
        raise row.error(
            f"has choices={shown(choices)}, which is not a list of 2 to {len(LETTERS)} texts"
        )
    texts = ["" if choice is None else str(choice) for choice in choices]
    if not all(text.strip() for text in texts):
        raise row.error(f"has an empty choice in choices={shown(choices)}")
    return texts
