"""Runs as they lie on disk: grouped by seed, told apart by settings, never trusted to be whole."""

import json
import shutil
from pathlib import Path

import pytest

from distillkit.core.errors import ConfigError, RunError
from distillkit.report.groups import baseline_of, differences, group, letter, together
from distillkit.report.runs import gather
from distillkit.report.wording import warnings
from tests.report.builder import Recipe, build_run


def test_runs_that_differ_only_in_their_seed_are_one_group(grid: Path) -> None:
    groups = group(gather([grid], split="test").runs)
    assert [len(found.runs) for found in groups] == [2] * 6
    assert [run.seed for run in groups[0].runs] == [0, 1]
    assert groups[0].label.replace("\N{NO-BREAK SPACE}", " ") == "β 0.1 · λ 0"
    assert [found.key for found in groups] == list("ABCDEF")


def test_seeds_that_were_guarded_differently_are_one_group(tmp_path: Path) -> None:
    runs = [build_run(tmp_path, Recipe(f"s{seed}", seed=seed, n=10)) for seed in (0, 1)]
    with (runs[1] / "run.yaml").open("a") as file:
        file.write("guard: {stop: true}\n")
    assert [len(found.runs) for found in group(gather(runs, split="test").runs)] == [2]


def test_the_same_seed_twice_is_not_two_seeds(tmp_path: Path) -> None:
    runs = [build_run(tmp_path, Recipe(name, n=10)) for name in ("one", "two")]
    assert [len(found.runs) for found in group(gather(runs, split="test").runs)] == [1, 1]


def test_only_settings_that_differ_are_told_and_what_names_a_run_is_not(grid: Path) -> None:
    rows = together(differences(group(gather([grid], split="test").runs)))
    assert list(rows) == [
        ("beta", "divergence.beta", "objective.divergence.beta"),
        ("lmbda", "policy.lmbda"),
    ]
    assert list(rows.values())[1] == ("0", "1", "0", "1", "0", "1")


def test_components_are_told_apart_by_the_names_in_the_overrides(tmp_path: Path) -> None:
    runs = [build_run(tmp_path, Recipe(name, n=10)) for name in ("one", "two")]
    (runs[1] / "overrides.yaml").write_text('["divergence=tvd", "policy=mixed", "name=two"]')
    rows = differences(group(gather(runs, split="test").runs))
    assert rows == {"divergence": ("jsd", "tvd")}


def test_a_run_is_read_once_however_often_it_is_named(grid: Path) -> None:
    one = grid.parent.parent / "train" / "mixed-jsd-b0.1-l0.0-s0"
    assert len(gather([grid, one, one], split="test").runs) == 12


def test_a_sweep_that_was_moved_is_still_found(grid: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(grid.parent.parent, moved)
    table = moved / "sweep" / grid.name / "table.json"
    cells = json.loads(table.read_text())
    for cell in cells:
        cell["run"] = cell["run"].replace(str(grid.parent.parent), "/gone")
    cells.append({"overrides": ["beta=2", "output=/home/me"], "status": "failed", "error": "x"})
    table.write_text(json.dumps(cells))
    gathered = gather([table.parent], split="test")
    assert len(gathered.runs) == 12
    assert gathered.notes[0].what == "The cell beta=2 left no run (failed)."


def test_a_run_without_an_evaluation_says_which_command_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = build_run(tmp_path, Recipe("bare", n=10))
    shutil.rmtree(folder / "evaluation")
    (run,) = gather([folder], split="test").runs
    assert run.missing[0].remedy == "distillkit eval run=train/bare"
    assert run.evaluation is not None
    assert run.evaluation.source == "training"
    (other,) = gather([folder], split="validation").runs
    assert other.evaluation is None
    assert other.missing[0].remedy == "distillkit eval run=train/bare split=validation"


def test_an_unfinished_run_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = build_run(tmp_path, Recipe("half", n=10))
    for name in ("summary.json", "provenance.json", "metrics.jsonl", "overrides.yaml"):
        (folder / name).unlink()
    shutil.rmtree(folder / "evaluation")
    (run,) = gather([folder], split="test").runs
    assert run.missing[0].what.startswith("half is not finished")
    assert (run.evaluation, list(run.journal)) == (None, [])


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    folder = build_run(tmp_path, Recipe("torn", n=10))
    records = folder / "evaluation" / "test" / "records.jsonl"
    records.write_text(records.read_text()[:-20])
    with pytest.raises(RunError, match="line 10 of .*records.jsonl is damaged"):
        gather([folder], split="test")


def test_what_is_no_run_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither a run directory .* nor a sweep folder"):
        gather([tmp_path], split="test")


def test_no_path_of_the_machine_is_kept(grid: Path) -> None:
    for run in gather([grid], split="test").runs:
        assert "…/student" in run.config.values()
        assert "secret" not in repr((run.config, run.provenance, run.path))
        assert not any(text.startswith("/") for text in run.config.values())


def test_a_baseline_goes_by_run_letter_or_label(grid: Path) -> None:
    groups = group(gather([grid], split="test").runs)
    assert baseline_of(groups, None) is groups[0]
    for name in ("mixed-jsd-b0.5-l0.0-s1", "C", "β 0.5 · λ 0"):
        assert baseline_of(groups, name) is groups[2]
    with pytest.raises(ConfigError, match="--baseline none is none of the runs"):
        baseline_of(groups, "none")


@pytest.mark.parametrize(
    ("recipe", "word"),
    [
        (Recipe("x", n=10, selection="best-by-test (step 50)"), "test score"),
        (Recipe("x", n=10, selection="best-by-validation (step 50)"), "best of several"),
        (Recipe("x", n=10, export="best"), "best of several"),
    ],
)
def test_weights_chosen_by_score_are_warned_about(
    recipe: Recipe, word: str, tmp_path: Path
) -> None:
    plain = group(gather([build_run(tmp_path, Recipe("plain", n=10))], split="test").runs)
    assert warnings(plain) == []
    (found,) = warnings(group(gather([build_run(tmp_path, recipe)], split="test").runs))
    assert word in found


def test_letters_go_on_after_z() -> None:
    assert [letter(index) for index in (0, 25, 26, 27, 701, 702)] == [
        *("A", "Z", "AA", "AB", "ZZ", "AAA")
    ]
