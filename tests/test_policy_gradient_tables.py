"""The scripts that print what policy gradients gave, on runs whose numbers are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from distillkit.compose import compose
from distillkit.core.types import Split
from distillkit.evaluation.folder import EvaluationFolder
from distillkit.report.evaluations import Value
from scripts import policy_gradient_table, reward_tradeoff, seeded
from tests.report.builder import Recipe, build_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configurations of three seeds, evaluated on the same 40 examples."""
    output = tmp_path_factory.mktemp("table")
    for seed in range(3):
        build_run(output, Recipe(f"minillm-{seed}", lmbda=1.0, seed=seed, n=40))
        build_run(output, Recipe(f"sft-{seed}", lmbda=0.0, seed=seed, n=40))
    return output / "train"


def right(folder: Path, name: str) -> np.ndarray:
    """Verdicts [seeds, examples]."""
    kept = [EvaluationFolder(folder / f"{name}-{seed}", "test").kept() for seed in range(3)]
    return np.array(
        [[row["student"]["accuracy"]["accuracy"][0] for row in each.records] for each in kept]
    )


def test_the_table_has_means_and_paired_differences(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy_gradient_table.main(folder, elsewhere="")
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[1:-1] for line in lines}
    titles = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert list(rows)[2:] == ["minillm", "sft", "start", "teacher"]
    assert len({len(row) for row in rows.values()}) == 1
    assert "KL(student, teacher)" in titles
    assert "Self-BLEU" not in titles, "nobody has measured it"
    ours, theirs = right(folder, "minillm"), right(folder, "sft")
    sft = dict(zip(titles, (cell.strip() for cell in rows["sft"]), strict=True))
    assert sft["accuracy, each seed"] == ", ".join(f"{each:.1%}" for each in theirs.mean(1))
    assert sft["mean"] == f"{theirs.mean():.1%}"
    gaps = 100 * (theirs.mean(1) - ours.mean(1))
    low, high = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert sft["points over minillm"].startswith(f"{gaps.mean():+.1f}; examples ")
    assert sft["points over minillm"].endswith(f"seeds {low:+.1f} to {high:+.1f}")


def test_diagnostics_are_the_mean_over_the_last_updates(folder: Path) -> None:
    run = seeded.by_configuration(folder)["sft"].runs[0]
    told = policy_gradient_table._diagnostic("repetition")
    rows = [{"step": step, "repetition": float(step)} for step in range(1, 101)]
    rows.append({"step": 101, "validation/accuracy": 0.5})
    assert told(replace(run, journal=rows)) == np.mean(range(51, 101))
    assert told(replace(run, journal=[{"loss": 1.0}])) is None


def test_repeated_four_grams_are_counted_within_each_sample(folder: Path) -> None:
    run = seeded.by_configuration(folder)["sft"].runs[0]
    assert run.evaluation is not None
    texts = ["a a a a a a", "a b c d e", "a b c d e"]
    records = {"diversity": {"one": {"texts": texts}}}
    run = replace(run, evaluation=replace(run.evaluation, records=records))
    # aaaa is there three times, so two are repeated, of 3 + 2 + 2.
    assert policy_gradient_table.repeated_share(run) == pytest.approx(2 / 7)
    assert policy_gradient_table.sample_length(run) == pytest.approx(16 / 3)


def test_runs_that_are_not_what_their_name_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no run that is named"):
        seeded.by_configuration(tmp_path)
    build_run(tmp_path, Recipe("minillm-1", seed=2, n=8))
    with pytest.raises(SystemExit, match="has the seed 2"):
        seeded.by_configuration(tmp_path / "train")


def test_samples_are_judged_by_the_runs_dataset(tmp_path: Path) -> None:
    composed = compose("train", [])
    (tmp_path / "run.yaml").write_text(composed.yaml())
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump(composed.overrides))
    (tmp_path / "provenance.json").write_text(json.dumps({"fingerprint": composed.fingerprint}))
    first, second = composed.run.dataset.examples(Split.test)[:2]
    where = tmp_path / "evaluation" / "test"
    where.mkdir(parents=True)
    rows = [
        {"id": first.id, "student": {"diversity": {"texts": [first.reference, "nothing"]}}},
        {"id": second.id, "student": {"diversity": {"texts": [second.reference] * 2}}},
    ]
    (where / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    results = {"n": 2, "fingerprint": "x", "metrics": {}, "numbers": {}}
    (where / "results.json").write_text(json.dumps(results))
    rewards = reward_tradeoff.rewards_of_samples(tmp_path)
    assert rewards == {"student": [[1.0, 0.0], [1.0, 1.0]]}
    share = reward_tradeoff._share(rewards["student"])
    assert (share.value, share.low, share.high) == (0.75, 0.5, 1.0)


def test_a_picture_is_drawn_with_and_without_whiskers(tmp_path: Path) -> None:
    known, bare = Value(0.5, 0.4, 0.7), Value(0.0)
    points = [
        reward_tradeoff.Point("alpha 0.5", 2, known, known, known),
        reward_tradeoff.Point("teacher", 0, bare, known, known),
    ]
    reward_tradeoff.draw(points, tmp_path / "tradeoff.png")
    assert (tmp_path / "tradeoff.png").stat().st_size > 5000
    assert np.allclose(reward_tradeoff._whiskers(known), [[0.1], [0.2]])
