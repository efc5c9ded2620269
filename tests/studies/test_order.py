"""``distillkit study order``: rates, counts, tables held against a hand computation, refusals."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from distillkit.compose import compose
from distillkit.core.errors import DataError, RunError
from distillkit.core.files import write_json_lines
from distillkit.core.rundir import RunDirectory
from distillkit.programs.study.order.agreement import agreement
from distillkit.programs.study.order.counts import Pace, counts
from distillkit.programs.study.order.findings import Findings
from distillkit.programs.study.order.leaving import leave, markdown
from distillkit.programs.study.order.outcomes import Outcome, difference, outcome_of
from distillkit.programs.study.order.rates import best, score_of, untried
from distillkit.run_studies import Equal
from tests.conftest import CommandLine
from tests.test_bad_input import said

RATES = [1e-4, 3e-4, 1e-3, 3e-3]
BUDGET = {"gold_labels": 16, "prompts": 16, "teacher_wrote": 0, "teacher_read": 0}

FEW = ("gkd=false", "~methods.mixed", "~methods.minillm", "~methods.on_policy")
"""Fewer trainings to be composed."""

RIGHT = {
    "sft": [[1, 0], [0, 0], [0, 1], [0, 0]],
    "seqkd": [[1, 1], [1, 0], [0, 1], [1, 0]],
    "on_policy": [[1, 1], [1, 1], [1, 1], [1, 1]],
}
"""Of four examples and two seeds, by method."""


def left_run(
    place: Path,
    right: Mapping[str, int],
    *,
    seconds: float = 1.0,
    validation: Sequence[float] = (),
) -> RunDirectory:
    """A finished run, written as trainings write theirs."""
    run = RunDirectory(place)
    rows: list[dict[str, float]] = [{"step": 1, "tokens": 30.0}, {"step": 2, "tokens": 50.0}]
    rows += [{"step": 2, "validation/accuracy": score} for score in validation]
    with run.claim(fingerprint="0" * 16, config="", overrides=[], provenance={}):
        write_json_lines(place / "metrics.jsonl", rows)
        write_json_lines(
            place / "verdicts.jsonl",
            [{"split": "test", "id": name, "student": bool(one)} for name, one in right.items()],
        )
        told = {
            "name": place.name,
            "fingerprint": "0" * 16,
            "steps": 2,
            "split": "test",
            "selection": "last",
            "training_seconds": seconds,
            "budget": BUDGET,
            "student_before": {"accuracy": 0.25},
            "student_after": {"accuracy": sum(right.values()) / len(right)},
            "teacher": {"accuracy": 1.0},
        }
        run.finish(told, leaves=("metrics.jsonl", "verdicts.jsonl"))
    return run


def left_cell(folder: Path, method: str, *, steps: int = 2) -> Outcome:
    """The outcome of a method's runs, one a seed; its examples are in another order in each."""
    runs = []
    for seed in range(2):
        verdicts = [(f"q{at}", row[seed]) for at, row in enumerate(RIGHT[method])]
        ordered = dict(verdicts if seed else reversed(verdicts))
        runs.append(left_run(folder / f"{method}-{seed}", ordered, seconds=1.0 + seed))
    return outcome_of(1e-3, runs)


def findings(folder: Path) -> Findings:
    methods = {name: left_cell(folder, name) for name in RIGHT}
    run = compose(
        "order",
        ["~methods", "+methods={sft: a, seqkd: b, on_policy: c}", "clock=sft", "seeds=[0,1]"],
    ).run
    run.labels = [4]
    return Findings(
        run=run,
        equal={Equal.steps: methods},
        labels={("sft", 4): methods["seqkd"]},
        gkd={("1", "forward KL"): methods["on_policy"], ("0", "forward KL"): methods["sft"]},
        writing=dict.fromkeys(RIGHT, 0.0),
    )


def test_the_ends_of_the_rates_are_tried_only_where_their_neighbour_is_best() -> None:
    assert untried({}, RATES) == [3e-4, 1e-3]
    assert untried({3e-4: 0.2, 1e-3: 0.1}, RATES) == [1e-4]
    assert untried({3e-4: 0.1, 1e-3: 0.2}, RATES) == [3e-3]
    assert untried({3e-4: 0.2, 1e-3: 0.1, 1e-4: 0.3}, RATES) == []
    assert untried({}, RATES[:2]) == RATES[:2]
    assert untried({}, RATES[:1]) == []


def test_of_equally_good_rates_the_lowest_is_taken() -> None:
    assert best({1e-3: 0.3, 3e-4: 0.3, 1e-4: 0.2}, RATES) == 3e-4
    assert best({}, RATES[:1]) == RATES[0]


def test_a_rate_is_judged_by_its_last_validation(tmp_path: Path) -> None:
    assert score_of(left_run(tmp_path / "run", {"q": 1}, validation=[0.5, 0.25])) == 0.25
    with pytest.raises(DataError, match="never validated"):
        score_of(left_run(tmp_path / "other", {"q": 1}))


def test_steps_at_equal_tokens_and_time_are_those_that_fit() -> None:
    paces = {
        "sft": Pace(100, tokens=2000, seconds=10),
        "seqkd": Pace(100, tokens=1000, seconds=10, writing=4),
        "on_policy": Pace(100, tokens=3100, seconds=19),
    }
    # 3,100 tokens at 20, 10 and 31 a step; 19 s at 0.1 s a step, of SeqKD less 4 s.
    tokens = counts(paces, Equal.tokens, clock="on_policy", multiple=10)
    assert tokens == {"sft": 160, "seqkd": 310, "on_policy": 100}
    time = counts(paces, Equal.time, clock="on_policy", multiple=10)
    assert time == {"sft": 190, "seqkd": 150, "on_policy": 100}


def test_who_writes_for_longer_than_the_clock_runs_takes_no_step() -> None:
    paces = {"a": Pace(10, tokens=1, seconds=1), "b": Pace(10, tokens=1, seconds=1, writing=9)}
    assert counts(paces, Equal.time, clock="a", multiple=5) == {"a": 10, "b": 0}


def test_a_cell_is_read_as_its_runs_left_it(tmp_path: Path) -> None:
    outcome = left_cell(tmp_path, "seqkd")
    assert outcome.right is not None
    assert outcome.right.tolist() == RIGHT["seqkd"]
    assert outcome.scores == (0.75, 0.5)
    assert (outcome.tokens, outcome.seconds, outcome.start) == (80, 1.5, 0.25)


def test_a_difference_is_that_of_the_mean_verdicts_paired_over_examples(tmp_path: Path) -> None:
    left, right = (left_cell(tmp_path, name) for name in ("seqkd", "sft"))
    found = difference(left, right)
    assert found is not None
    each = np.array([1.0, 0.5, 0.5, 0.5]) - np.array([0.5, 0.0, 0.5, 0.0])
    assert found.estimate == pytest.approx(each.mean())
    draws = np.random.default_rng(0).multinomial(4, np.full(4, 0.25), size=2000) @ each / 4
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_runs_on_different_examples_are_not_compared(tmp_path: Path) -> None:
    runs = [left_run(tmp_path / name, {name: 1}) for name in ("a", "b")]
    with pytest.raises(DataError, match="same examples"):
        outcome_of(1e-3, runs)


def test_verdicts_that_were_changed_are_refused(tmp_path: Path) -> None:
    run = left_run(tmp_path / "run", {"q": 1})
    write_json_lines(run.path / "verdicts.jsonl", [])
    with pytest.raises(RunError, match="verdicts"):
        outcome_of(1e-3, [run])


def test_the_tables_are_those_of_a_hand_computation(tmp_path: Path) -> None:
    found = findings(tmp_path)
    rows = {row["method"]: row for row in found.equal_rows()}
    assert [rows[name]["mean"] for name in RIGHT] == [25.0, 62.5, 100.0]
    assert [rows[name]["gain"] for name in RIGHT] == [None, 37.5, 75.0]
    assert (rows["seqkd"]["seed_0"], rows["seqkd"]["seed_1"]) == (75.0, 50.0)
    against = [
        difference(found.equal[Equal.steps][name], found.equal[Equal.steps]["sft"])
        for name in ("seqkd", "on_policy")
    ]
    p = [each.p for each in against if each is not None]
    lower, higher = (0, 1) if p[0] < p[1] else (1, 0)
    corrected = [rows[name]["p_holm"] for name in ("seqkd", "on_policy")]
    assert corrected[lower] == pytest.approx(2 * p[lower])
    assert corrected[higher] == pytest.approx(max(p[higher], 2 * p[lower]))
    labels = {(row["labels"], row["method"]): row for row in found.label_rows()}
    assert labels[4, "sft"]["mean"] == 62.5, "its runs under four labels"
    assert labels[4, "on_policy"]["mean"] == labels["all", "on_policy"]["mean"] == 100.0
    assert labels[4, "on_policy"]["gain"] == 37.5
    gkd = {row["lambda"]: row for row in found.gkd_rows()}
    assert (gkd["1"]["gain"], gkd["1"]["published_gain"]) == (75.0, 8.8)
    assert (gkd["0"]["gain"], gkd["0"]["published_gain"]) == (0.0, 4.7)


def test_what_agrees_with_the_paper_is_said_with_both_numbers(tmp_path: Path) -> None:
    (line,) = [each for each in agreement(findings(tmp_path)) if "lambda 1 over 0" in each]
    assert line.startswith("on-policy over supervised (lambda 1 over 0): +75.0 points (")
    assert line.endswith("the paper +4.1; mean over forward KL: agrees.")


def test_every_picture_has_its_numbers_beside_it(tmp_path: Path) -> None:
    summary = leave(findings(tmp_path), tmp_path)
    for name in ("order", "labels", "gkd"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        with (tmp_path / f"{name}.csv").open() as stream:
            assert next(iter(csv.DictReader(stream)))["mean"]
    text = (tmp_path / "table.md").read_text()
    assert "| seqkd | 16 | 0, 0 | 2 | 2 | 0.001 | 75.0, 50.0 | 62.5 | +37.5 (" in text
    assert markdown(json.loads(json.dumps(summary))) == text


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["clock=nobody"], ["clock=nobody is no method", "sft"]),
        (["~methods", "+methods={}"], ["methods has 0 of the two", "+methods.mine="]),
        (["+methods.a-b='experiment=sft'"], ["methods.a-b", "letters, digits and underscores"]),
        (["+methods.mine='experiment=sft steps=3'"], ["methods.mine has steps=3", "steps=..."]),
        (["train='evaluation.test=3'"], ["train has evaluation.test=3", "test=..."]),
        (["+methods.mine='experiment=none'"], ["mine", "cannot be run"]),
        (["rates=[1e-3,1e-4]"], ["rates=[0.001, 0.0001]", "ascend"]),
        (["rates=[0]"], ["rates=[0.0]", "above 0"]),
        (["seeds=[100]"], ["tuning_seed=100", "Choose another"]),
        (["equal=[time]"], ["equal and tuned must hold steps"]),
        (["equal=[luck]"], ["equal", "luck"]),
        (["~policies", "+policies={}"], ["policies are empty", "gkd=false"]),
        (["labels=[99]", "train='debug=smoke'", *FEW], ["dataset.labelled=99", "16 examples"]),
        (
            ["+methods.mine='experiment=sft dataset.seed=1'", "train='debug=smoke'", *FEW],
            ["mine", "measured on other examples than sft", "train.dataset=..."],
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    typed: list[str], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    said(distillkit("study", "order", *typed), *words)
    assert not (tmp_path / "outputs").exists()
