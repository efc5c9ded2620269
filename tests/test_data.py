"""A user's rows on the command line: what is refused, what is said, and what is left alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SMOKE, CommandLine, Result
from tests.preflight.planted import found
from tests.test_bad_input import said

pytestmark = pytest.mark.usefixtures("wide")

ROWS = ["dataset=jsonl", "dataset.path=rows.jsonl", "dataset.validation_share=4"]
GOOD = [{"prompt": f"What is {n}?", "response": f"It is {n}."} for n in range(12)]
USER = {"role": "user", "content": "What is 0 and 1?"}


def put(*rows: dict[str, Any]) -> None:
    """The rows, which no JSON reader of another tool need take, in ``rows.jsonl``."""
    Path("rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


BLANK = [
    *({"prompt": "What?", "response": value} for value in ("", " \n", None, float("nan"))),
    {"messages": [USER]},
    {"messages": [USER, {"role": "assistant", "content": "\t"}]},
    {"instruction": "What?", "output": None},
]

WRITES = [
    ["policy=mixed"],
    ["policy=off_policy"],
    ["experiment=sft"],
    ["objective=kd", "policy=off_policy"],
]
"""Trainings in which the dataset may write."""


@pytest.mark.parametrize("row", BLANK, ids=json.dumps)
def test_a_row_without_an_answer_is_refused_where_the_dataset_may_write(
    row: dict[str, Any], distillkit: CommandLine
) -> None:
    put(*GOOD[:3], row, *GOOD[3:])
    said(
        distillkit("train", *SMOKE, *ROWS),
        "rows-00003 has no reference response, and policy=mixed trains on",
        "Use policy=on_policy",
    )
    assert not Path("outputs").exists()


@pytest.mark.parametrize("typed", WRITES, ids=" ".join)
def test_whatever_trains_on_the_datasets_text_refuses_rows_without_any(
    typed: list[str], distillkit: CommandLine
) -> None:
    put(BLANK[0], *GOOD)
    said(distillkit("train", *SMOKE, *ROWS, *typed), "rows-00000 has no reference response")
    refused = distillkit("doctor", *SMOKE, *ROWS, *typed, "teacher=embedded")
    assert "1 training examples have no reference response" in found(refused, "fatal", "lengths")


def test_other_text_that_says_nothing_is_refused_too(distillkit: CommandLine) -> None:
    put(BLANK[1], *GOOD)
    other = ["dataset@dataset_pt=jsonl", "dataset_pt.path=rows.jsonl"]
    typed = [*other, "dataset_pt.validation_share=2", "experiment=minillm"]
    said(distillkit("train", *SMOKE, *typed), "rows-00000 of dataset@dataset_pt=jsonl has no")


def test_what_is_said_of_other_text_is_noted_too(distillkit: CommandLine) -> None:
    put(*({**row, "score": 1} for row in GOOD))
    other = ["dataset@dataset_pt=jsonl", "dataset_pt.path=rows.jsonl"]
    typed = [*SMOKE, *other, "dataset_pt.validation_share=2", "experiment=minillm"]
    told = notes(distillkit("train", *typed))
    assert "dataset_pt: the last 2 of 12 training rows are validation" in told
    assert "score (in 10 of 10)" in told
    assert "score (in 10 of 10)" in distillkit("doctor", *typed).out


@pytest.mark.parametrize("policy", ["on_policy", "seq_kd"])
def test_prompts_alone_are_enough_where_the_dataset_never_writes(
    policy: str, distillkit: CommandLine
) -> None:
    put(*BLANK, *GOOD)
    done = distillkit("train", *SMOKE, *ROWS, f"policy={policy}")
    assert (done.code, done.err) == (0, "")


def notes(result: Result) -> str:
    """What a training notes."""
    assert result.code == 0, result.err
    return " ".join(line for line in result.out.splitlines() if "note: " in line)


def test_a_training_notes_what_was_read_and_the_doctor_finds_it(distillkit: CommandLine) -> None:
    rows = [{"instruction": "Add one.", "context": str(n), "output": str(n + 1)} for n in range(12)]
    Path("data").mkdir()
    for name in ("train", "rest"):
        Path(f"data/{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    typed = [*SMOKE, "dataset=alpaca", "dataset.path=data", "dataset.validation_share=4"]
    told = notes(distillkit("train", *typed))
    assert "dataset.path=data has files that are not read: rest.jsonl" in told
    assert "the last 4 of 12 training rows are validation" in told
    assert "validation is also test" in told
    assert "not read: context (in 8 of 8)" in told
    assert "8 training examples ask only 1 distinct prompts" in told
    result = distillkit("doctor", *typed)
    assert "distinct training prompts: 1" in found(result, "ok", "dataset")
    assert "1 distinct prompts" in result.out
    assert "context (in 8 of 8)" in result.out
    assert "rest.jsonl" in result.out
    mended = notes(distillkit("train", *typed, "dataset.input_field=context"))
    assert "distinct" not in mended
    assert "context" not in mended


def test_a_training_on_the_embedded_world_notes_nothing_of_data(distillkit: CommandLine) -> None:
    assert notes(distillkit("train", *SMOKE)) == ""


HUGE = 2**63 - 1


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("verb", ["train", "doctor"])
def test_a_world_without_bound_is_refused_before_it_is_built(
    verb: str, split: str, distillkit: CommandLine
) -> None:
    field = f"dataset.{split}={HUGE}"
    said(distillkit(verb, *SMOKE, field), field, "between 1 and 1000000")


@pytest.mark.parametrize(
    "typed",
    [
        *(f"dataset.{split}={2**62}" for split in ("train", "validation", "test")),
        "evaluation.test=9223372036854775807",
        "evaluation.samples=9223372036854775807",
    ],
)
def test_a_cap_beyond_all_rows_is_no_cap(typed: str, distillkit: CommandLine) -> None:
    put(*GOOD)
    assert distillkit("train", *SMOKE, *ROWS, typed).code == 0


SIZES = [
    (["loop.batch_size=SIZE"], "loop.batch_size must be at most 1048576"),
    (["loop.collect=SIZE"], "loop.collect times loop.batch_size must be at most"),
    (["loop.group=SIZE", "loop.batch_size=SIZE"], "loop.batch_size must be at most 1048576"),
    (["evaluation.max_new_tokens=SIZE"], "evaluation.max_new_tokens must be at most 1048576"),
    (["rollout.max_new_tokens=SIZE"], "rollout.max_new_tokens must be at most 1048576"),
    (["teacher_rollout.max_new_tokens=SIZE"], "teacher_rollout.max_new_tokens must be at most"),
]


@pytest.mark.parametrize(("typed", "words"), SIZES)
def test_a_size_that_no_machine_holds_is_refused(
    typed: list[str], words: str, distillkit: CommandLine
) -> None:
    filled = [item.replace("SIZE", str(HUGE)) for item in typed]
    said(distillkit("train", *SMOKE, *filled), words, ", got ")
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("max_new_tokens", "max_new_tokens must be at most"),
        ("samples", "samples must be at most"),
        ("metric.calibration.bins", "metric.calibration.bins must be at most"),
    ],
)
def test_an_evaluation_of_such_a_size_is_refused(
    field: str, words: str, distillkit: CommandLine
) -> None:
    typed = ["metric=calibration"] if field.startswith("metric") else []
    said(distillkit("eval", "run=none", *typed, f"{field}={HUGE}"), words, str(HUGE))


def test_an_estimate_of_such_a_size_is_refused(distillkit: CommandLine) -> None:
    refused = distillkit("estimate", "--repeats", str(HUGE), *SMOKE)
    said(refused, "--repeats must be at most")
