"""What a teacher takes is told at the end, kept by a run that goes on, and shown in reports."""

import json
from pathlib import Path

import pytest

from distillkit.programs.train.spending import costs_line
from tests.conftest import SMOKE, CommandLine

RUN = ("train", *SMOKE, "policy=off_policy", "steps=4", "dataset.train=40", "evaluation.test=8")
CONSTANT = "optimizer.schedule=constant"


def costs_of(name: str) -> dict[str, float]:
    """Those in a run's summary."""
    return json.loads(Path(f"outputs/train/{name}/summary.json").read_text())["teacher_costs"]


def test_a_teacher_s_tokens_and_seconds_are_in_the_summary_and_on_the_screen(
    distillkit: CommandLine,
) -> None:
    result = distillkit(*RUN, "name=asked")
    assert result.code == 0, result.err
    costs = costs_of("asked")
    rows = [
        json.loads(row)
        for row in Path("outputs/train/asked/metrics.jsonl").read_text().splitlines()
    ]
    learnt = sum(row["tokens"] for row in rows if "loss" in row)
    assert costs["tokens"] > learnt
    assert costs["seconds"] > 0
    assert (costs["bytes"], costs["price"]) == (0, 0)
    assert f"teacher  {costs['tokens']:,} tokens, " in result.out
    again = distillkit(*RUN, "name=asked")
    assert f"teacher  {costs['tokens']:,} tokens, " in again.out
    assert distillkit(*RUN, "name=alone", "objective=sft").code == 0
    page = distillkit("report", "outputs/train/asked", "outputs/train/alone")
    assert page.code == 0, page.err
    assert "teacher, s" in "".join(path.read_text() for path in Path("outputs").rglob("*.md"))


def test_a_run_that_goes_on_counts_what_went_before(distillkit: CommandLine) -> None:
    assert distillkit(*RUN, "name=whole").code == 0
    assert distillkit(*RUN, "name=longer", "steps=2", CONSTANT).code == 0
    assert distillkit(*RUN, "name=longer", CONSTANT).code == 0
    assert costs_of("longer")["tokens"] == costs_of("whole")["tokens"]


def test_a_cache_tells_its_bytes(distillkit: CommandLine) -> None:
    made = distillkit("cache", "dataset.train=40", "support.k=4", "name=kept")
    assert made.code == 0, made.err
    typed = (
        "teacher=cached",
        "teacher.path=outputs/cache/kept",
        "support=teacher_top_k",
        "support.k=4",
    )
    result = distillkit(*RUN, *typed, "name=read")
    assert result.code == 0, result.err
    assert costs_of("read")["bytes"] > 0
    assert distillkit(*RUN, "name=asked").code == 0
    assert costs_of("read")["tokens"] == costs_of("asked")["tokens"]


@pytest.mark.parametrize(("after", "each"), [(0.5, "0.1 for a point"), (0.3, None), (0.2, None)])
def test_a_price_is_told_for_each_point_that_was_gained(after: float, each: str | None) -> None:
    summary = {
        "teacher_costs": {"tokens": 10, "bytes": 2_000_000, "seconds": 3.0, "price": 2.0},
        "student_before": {"accuracy": 0.3},
        "student_after": {"accuracy": after},
    }
    line = costs_line(summary)
    assert line is not None
    assert line.startswith("teacher  10 tokens, 2.0 MB, 3.0 s, a price of 2")
    assert (each or "for a point") in line or each is None
    assert ("point" in line) == (each is not None)
