"""A table of answers as models write them, each with the verdict that a careful person gives.

Some are decisions. The last of several boxes counts, and so does the last ``####``, unless a next
question began before it. ``18 or 20`` is no answer. A decimal is what it writes, so 3.46 is not
2*sqrt(3). A percentage is its number and its hundredth. An angle in degrees is not one in radians.
"""

import json
from functools import cache
from pathlib import Path

import pytest

from distillkit.core.types import Example
from distillkit.datasets.answers import last_words
from distillkit.datasets.base import Dataset
from distillkit.datasets.commonsenseqa import CommonsenseQa
from distillkit.datasets.gsm8k import Gsm8k
from distillkit.datasets.math import Math
from distillkit.datasets.source import Row, RowDataset
from distillkit.datasets.strategyqa import StrategyQa
from distillkit.datasets.svamp import Svamp

TABLE = Path(__file__).with_name("known_answers.jsonl")
LINES = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


@cache
def datasets(style: str) -> list[Dataset]:
    return {
        "gsm8k": [Gsm8k(), Svamp()],
        "csqa": [CommonsenseQa()],
        "strategyqa": [StrategyQa()],
        "math": [Math()],
    }[style]


def verdict(dataset: Dataset, gold: str, text: str) -> bool:
    example = Example("r", (), "", answer=gold)
    if isinstance(dataset, Math | Gsm8k | Svamp):
        assert isinstance(dataset, RowDataset)
        example = dataset.example(
            Row("here", "r", {"question": "?", "answer": gold, "rationale": "w"})
        )
    return dataset.is_correct(example, text)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line['style']}: {line['text'][-40:]}")
def test_a_known_answer_gets_its_verdict(line: dict) -> None:
    if line["style"] == "text":
        assert (last_words(line["text"]) == last_words(line["gold"])) is line["right"]
        return
    for dataset in datasets(line["style"]):
        assert verdict(dataset, line["gold"], line["text"]) is line["right"]
