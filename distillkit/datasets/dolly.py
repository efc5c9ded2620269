"""Dolly 15k: instructions and answers by Databricks staff, April 2023 (CC BY-SA 3.0)."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.base import ask
from distillkit.datasets.json_lines import Values
from distillkit.datasets.source import Row, RowDataset


@spec("dataset/dolly")
class Dolly(RowDataset):
    """Free-form answers that nothing judges: compare them with the reference, or by likelihood.

    The hub has one split. Its first 1,000 rows are validation, as in MiniLLM's code
    (arXiv:2306.08543), its last 500 test. It repeats some 200 prompts, also across these splits.
    """

    revision: str = "bdd27f4d94b9c1f951818a7da7fd7aeea5dbff1a"
    """Commit of databricks/databricks-dolly-15k on the hub."""

    HUB: ClassVar = ("databricks/databricks-dolly-15k", None)
    HUB_SPLITS: ClassVar = {
        Split.train: "train[1000:-500]",
        Split.validation: "train[:1000]",
        Split.test: "train[-500:]",
    }
    FOLDER: ClassVar = (Split.train, Split.validation, Split.test)

    def normalise(self, values: Values, place: str) -> Values:
        return {
            "id": f"dolly-{place}",
            "instruction": values["instruction"],
            "input": values["context"],
            "response": values["response"],
        }

    def example(self, row: Row) -> Example:
        asked, given = row.question("instruction"), row.optional("input").strip()
        return Example(
            id=row.id,
            prompt=ask(asked, given),
            reference=row.answer("response"),
        )

    def extract(self, text: str) -> str | None:
        return None
