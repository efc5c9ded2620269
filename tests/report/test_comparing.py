"""Differences are paired by example, against oracles that know nothing of our code."""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from distillkit.report.comparing import Difference, PairedRuns, over_seeds, value_of
from distillkit.report.groups import group
from distillkit.report.runs import Run, gather
from distillkit.report.tables import Table, build
from tests.report.builder import Recipe, build_run


@pytest.fixture(scope="module")
def runs(grid: Path) -> tuple[Run, ...]:
    return gather([grid], split="test").runs


@pytest.fixture(scope="module")
def table(runs: tuple[Run, ...]) -> Table:
    groups = group(runs)
    return build(groups, groups[0])


def verdicts(run: Run) -> np.ndarray:
    assert run.evaluation is not None
    items = sorted(run.evaluation.items, key=lambda item: item["id"])
    return np.array([item["texts"]["student"]["correct"] for item in items], dtype=float)


def difference(left: Run, right: Run, metric: str = "accuracy", number: str = "accuracy") -> object:
    return PairedRuns().difference([left], [right], metric=metric, number=number)


def test_a_difference_has_the_spread_of_paired_differences(runs: tuple[Run, ...]) -> None:
    left, right = runs[2], runs[0]
    made = difference(left, right)
    assert isinstance(made, Difference)
    apart = verdicts(left) - verdicts(right)
    error = apart.std() / sqrt(len(apart))
    assert made.value == pytest.approx(apart.mean(), abs=1e-12)
    assert made.n == len(apart)
    # The normal approximation; an unpaired bootstrap would be a good deal wider.
    assert (made.high - made.low) / 2 == pytest.approx(1.96 * error, rel=0.12)
    unpaired = 1.96 * sqrt((verdicts(left).var() + verdicts(right).var()) / len(apart))
    assert (made.high - made.low) / 2 < 0.8 * unpaired


def test_verdicts_of_two_single_runs_are_tested_by_mcnemar(runs: tuple[Run, ...]) -> None:
    left, right = runs[4], runs[0]
    made = difference(left, right)
    assert isinstance(made, Difference)
    apart = verdicts(left) - verdicts(right)
    won, lost = int((apart > 0).sum()), int((apart < 0).sum())
    assert made.p == pytest.approx(stats.binomtest(won, won + lost).pvalue)


def test_a_run_does_not_differ_from_itself(runs: tuple[Run, ...]) -> None:
    made = difference(runs[0], runs[0])
    assert isinstance(made, Difference)
    assert (made.value, made.low, made.high, made.p) == (0, 0, 0, 1)


def test_seeds_are_averaged_with_the_same_draws_for_all(runs: tuple[Run, ...]) -> None:
    left, right = runs[2:4], runs[:2]
    made = PairedRuns().difference(left, right, metric="accuracy", number="accuracy")
    assert isinstance(made, Difference)
    apart = sum(map(verdicts, left)) / 2 - sum(map(verdicts, right)) / 2
    assert made.value == pytest.approx(apart.mean(), abs=1e-12)
    error = apart.std() / sqrt(len(apart))
    assert (made.high - made.low) / 2 == pytest.approx(1.96 * error, rel=0.12)
    by_seed = [(verdicts(a) - verdicts(b)).mean() for a, b in zip(left, right, strict=True)]
    low, high = stats.t.interval(0.95, 1, loc=np.mean(by_seed), scale=stats.sem(by_seed))
    assert made.seeds is not None
    assert (made.seeds.low, made.seeds.high) == pytest.approx((low, high))


def test_means_over_tokens_weigh_every_token_once(tmp_path: Path) -> None:
    folders = [build_run(tmp_path, Recipe(name, seed=at, n=20)) for at, name in enumerate("ab")]
    records = folders[0] / "evaluation" / "test" / "records.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    for at, row in enumerate(rows):
        row["student"]["divergence"] = {"reverse_kl_own": [float(at), at + 1]}
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = folders[1] / "evaluation" / "test" / "records.jsonl"
    others = [json.loads(line) for line in other.read_text().splitlines()]
    left, right = gather(folders, split="test").runs
    made = difference(right, left, "divergence", "reverse_kl_own")
    assert isinstance(made, Difference)
    draw = np.random.default_rng(5).integers(20, size=(4000, 20))
    sums, tokens = np.arange(20.0), np.arange(20.0) + 1
    kept = np.array([row["student"]["divergence"]["reverse_kl_own"][0] / 20 for row in others])
    apart = kept[draw].mean(1) - sums[draw].sum(1) / tokens[draw].sum(1)
    assert (made.low, made.high) == pytest.approx(np.quantile(apart, [0.025, 0.975]), abs=0.02)


def test_other_examples_are_refused_in_the_cell(tmp_path: Path) -> None:
    left, right = (
        build_run(tmp_path, Recipe("left", seed=0, n=20)),
        build_run(tmp_path, Recipe("right", seed=0, n=20, first=3, beta=0.9)),
    )
    runs = gather([left, right], split="test").runs
    assert difference(*runs) == "not paired: 6 examples are not in both"
    groups = group(runs)
    made = build(groups, groups[0])
    assert made.blocks[1].row.cells[0].difference == "not paired: 6 examples are not in both"
    assert made.blocks[1].row.cells[0].p_holm is None
    assert made.blocks[1].row.cells[0].value is not None


def test_a_metric_that_was_set_differently_is_refused(tmp_path: Path) -> None:
    folders = [build_run(tmp_path, Recipe(name, n=20)) for name in "ab"]
    file = folders[1] / "evaluation" / "test" / "results.json"
    results = json.loads(file.read_text())
    results["metrics"]["accuracy"] = {"strict": True}
    file.write_text(json.dumps(results))
    assert difference(*gather(folders, split="test").runs) == (
        "not paired: accuracy was set differently"
    )


@pytest.mark.parametrize("name", ["examples", "samples", "seed", "max_new_tokens", "reference"])
def test_texts_that_were_written_otherwise_are_not_paired(name: str, tmp_path: Path) -> None:
    folders = [build_run(tmp_path, Recipe(each, n=20)) for each in "ab"]
    file = folders[1] / "evaluation" / "test" / "results.json"
    results = json.loads(file.read_text())
    results[name] = 77
    file.write_text(json.dumps(results))
    said = difference(*gather(folders, split="test").runs)
    assert said == f"not paired: other {name.replace('_', ' ')}"


def test_a_metric_of_another_version_has_no_difference(tmp_path: Path) -> None:
    folders = [build_run(tmp_path, Recipe(name, n=20)) for name in "ab"]
    for folder in folders:
        file = folder / "evaluation" / "test" / "results.json"
        results = json.loads(file.read_text())
        results["metrics"]["accuracy"] = {"of_later_years": 1}
        file.write_text(json.dumps(results))
    assert difference(*gather(folders, split="test").runs) == "metric accuracy is not known here"


def test_p_values_of_the_primary_column_are_corrected_by_holm(table: Table) -> None:
    cells = [block.row.cells[0] for block in table.blocks[1:]]
    raw = [cell.difference.p for cell in cells if isinstance(cell.difference, Difference)]
    assert len(raw) == 5
    expected, reached = {}, 0.0
    for place, at in enumerate(sorted(range(5), key=raw.__getitem__)):
        reached = max(reached, min(1.0, raw[at] * (5 - place)))
        expected[at] = reached
    assert [cell.p_holm for cell in cells] == pytest.approx([expected[at] for at in range(5)])
    assert table.blocks[0].row.cells[0].p_holm is None
    assert all(row.cells[0].p_holm is None for block in table.blocks for row in block.singles)


def test_a_single_seed_is_compared_with_the_baseline_of_its_seed(
    table: Table, runs: tuple[Run, ...]
) -> None:
    made = table.blocks[1].singles[1].cells[0].difference
    assert isinstance(made, Difference)
    assert made.value == pytest.approx((verdicts(runs[3]) - verdicts(runs[1])).mean())


def test_a_mean_over_some_of_the_seeds_is_not_shown(runs: tuple[Run, ...]) -> None:
    (found, *_) = group(runs)
    assert value_of(found, "accuracy", "accuracy") is not None
    assert value_of(found, "accuracy", "of another seed") is None


def test_the_interval_over_seeds_is_students(runs: tuple[Run, ...]) -> None:
    values = [0.5, 0.55, 0.63]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    made = over_seeds(values)
    assert (made.value, made.low, made.high) == pytest.approx((np.mean(values), low, high))
    assert over_seeds([0.5]).low is None


def test_the_primary_column_comes_first_and_the_start_and_teacher_are_there(table: Table) -> None:
    assert table.columns[0].number == "accuracy"
    assert [row.name for row in table.references] == ["start", "teacher"]
    titles = [table.columns[at].title for at in table.leading]
    assert titles == [
        *("accuracy", "agreement", "reverse KL own", "precision", "recall", "token ECE")
    ]
