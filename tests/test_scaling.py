"""``distillkit study scaling`` through the command line, on trainings whose results are planted."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from distillkit.compose import compose
from distillkit.core.errors import RunError
from distillkit.core.rundir import RunDirectory
from distillkit.programs.study.folder import claimed, directory_of
from distillkit.programs.study.scaling.fits import lines_of
from distillkit.programs.study.scaling.grid import Axis, Cell, along, cells_of, measured
from distillkit.programs.study.trainings import Trainings
from distillkit.programs.train.program import directory_of as run_directory_of
from distillkit.run_studies import Measured, ScalingStudy
from distillkit.statistics.profile import Form

from .conftest import CommandLine
from .test_bad_input import said

SMOKE = "student=pupil debug=smoke evaluation.every=0 evaluation.test=4"
ASKED = (
    *(f'train="{SMOKE} tracker=none"', "steps=[1,2,4,8]", "labels=[]", "jobs=1"),
    "name=planted",
)
FOLDER = Path("outputs/study/scaling/planted")
PUPIL = 258_336
TABLES = ("cells.csv", "fits.csv", "laws.csv")


def asked(*typed: str) -> list[str]:
    """Overrides as the command line takes them."""
    return [*ASKED, *typed]


def level(cell: Cell) -> float:
    """A law in steps, with a floor, and another one in labels."""
    return 0.05 + 0.5 * cell.steps**-0.6 + 0.2 * (cell.labels or 16) ** -0.4


def plant(*typed: str, without: int = 0) -> list[Cell]:
    """Leave the finished run directories of a study's cells but for the last ones."""
    composed = compose("scaling", asked(*typed))
    run: ScalingStudy = composed.run
    silent, study = Console(file=io.StringIO()), directory_of(composed, "scaling")
    trainings = Trainings(run, study.path, console=silent)
    with claimed(composed, study, silent):
        pass
    cells = cells_of(run, dict.fromkeys(run.students, PUPIL))
    random = np.random.default_rng(0)
    for cell in cells[: len(cells) - without]:
        made = trainings.composed(cell.training(run))
        directory = run_directory_of(made)
        reached = level(cell) * (1 + 0.01 * random.standard_normal())
        told = {"accuracy": 1 - reached, "nll": reached, "n": 4}
        summary = {
            **{"name": cell.name, "steps": cell.steps, "split": "test", "selection": "last"},
            **{"student_before": told, "teacher": told, "student_after": told},
        }
        with directory.claim(**made.asked(), provenance={}):
            directory.finish({**summary, "fingerprint": made.fingerprint}, leaves=())
    return cells


def read(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("wide")
def test_planted_laws_are_found_told_and_shown(distillkit: CommandLine, tmp_path: Path) -> None:
    labels = "labels=[4,8,16]"
    cells = plant(labels)
    result = distillkit("study", "scaling", *asked(labels))
    assert (result.code, result.err) == (0, "")
    assert "18 trainings, all done" in result.out
    fits = read("fits.csv")
    assert [(row["axis"], row["form"]) for row in fits] == [
        *[("steps", "floor"), ("steps", "plain"), ("labels", "floor"), ("labels", "plain")]
    ]
    steps, labels = fits[0], fits[2]
    assert float(steps["exponent_low"]) < 0.6 < float(steps["exponent_high"])
    # The rest of the largest cell, to which more steps add nothing.
    floor = 0.05 + 0.2 * 16**-0.4
    assert float(steps["floor_low"]) < floor < float(steps["floor_high"])
    assert steps["inside"] == "True"
    assert float(steps["error"]) == pytest.approx(float(steps["foretold"]) - float(steps["seen"]))
    assert labels["foretold"] == ""
    assert len(read("cells.csv")) == len(cells) == 18
    assert (FOLDER / "scaling.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((FOLDER / "summary.json").read_text())
    assert all(sentence in result.out for sentence in summary["shown"]["said"])
    assert "one learning rate" in result.out
    assert "[0.28]" in result.out
    assert len(json.loads((FOLDER / "table.json").read_text())) == 18
    assert distillkit("report", str(FOLDER)).code == 0
    page = Path("outputs/report/planted/report.html").read_text()
    for part in ("What was found", "data:image/png;base64,", "one learning rate", "18 runs"):
        assert part in page


def test_a_study_that_was_killed_at_the_end_ends_with_the_same_tables(
    distillkit: CommandLine,
) -> None:
    plant()
    assert distillkit("study", "scaling", *asked()).code == 0
    first = {name: (FOLDER / name).read_bytes() for name in TABLES}
    for name in ("summary.json", "fits.csv", "table.json"):
        (FOLDER / name).unlink()
    (FOLDER / ".laws.csv.1.partial").write_text("torn")
    assert distillkit("study", "scaling", *asked()).code == 0
    assert {name: (FOLDER / name).read_bytes() for name in TABLES} == first
    again = distillkit("study", "scaling", *asked())
    assert (again.code, "already done" in again.out) == (0, True)


def test_only_what_is_missing_is_trained_and_in_the_group_of_its_study(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    typed = f'train="{SMOKE} tracker=wandb"'
    *_, last = plant(typed, without=1)
    result = distillkit("study", "scaling", *asked(typed))
    assert (result.code, result.err) == (0, "")
    assert "12 trainings, 1 to do" in result.out
    run = FOLDER / "train" / last.name
    assert "tracker.group=study-planted" in yaml.safe_load((run / "overrides.yaml").read_text())
    assert (
        float(read("cells.csv")[-1]["value"])
        == json.loads((run / "summary.json").read_text())["student_after"]["nll"]
    )


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["seeds=[0,1]"], ["seeds=[0, 1]", "3 or more", "Give more seeds"]),
        (["steps=[1,2]", "labels=[]"], ["no axis has 3 sizes", "2 of steps, 0 of labels"]),
        (["steps=[1,2,2]"], ["steps=[1, 2, 2]", "none twice"]),
        (["labels=[0,1,2]"], ["labels=[0, 1, 2]", "got 0"]),
        (["~methods.kd"], ["methods is empty"]),
        (
            ["+students.same='seed=3'"],
            ["students.pupil and students.same", "258,336 parameters"],
        ),
        (["+students.lost='student.name=no/where/model'"], ["student.name=no/where/model"]),
        (
            ["+methods.other='dataset.seed=3'"],
            ["dataset.seed is 3", "and 0 in", "different examples"],
        ),
        (["+methods.other='divergence=nope'"], ["the training other-", "divergence=nope"]),
        ([f'train="{SMOKE} evaluation.test=0"', "of=accuracy"], ["of=accuracy", "Set it above 0"]),
        (["of=luck"], ["luck", "accuracy, nll, divergence"]),
        ([f'train="{SMOKE} \'"'], ["quot"]),
    ],
)
def test_what_cannot_be_studied_is_one_sentence_and_leaves_nothing(
    typed: list[str], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    said(distillkit("study", "scaling", *asked(*typed)), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_holds_another_study_is_refused(distillkit: CommandLine) -> None:
    composed = compose("scaling", asked("seeds=[0,1,2,3]"))
    with claimed(composed, directory_of(composed, "scaling"), Console(file=io.StringIO())):
        pass
    said(distillkit("study", "scaling", *asked()), "planted", "name=...")
    assert not (FOLDER / "train").exists()


def test_each_axis_is_varied_with_the_others_at_their_largest() -> None:
    more = ["+students.big='student=classmate'", "+students.small='student=embedded'"]
    run: ScalingStudy = compose("scaling", asked("labels=[4,8,16]", *more)).run
    cells = cells_of(run, {"pupil": 20, "big": 40, "small": 10})
    assert len(cells) == 3 * (4 + 3 + 3 - 2)
    assert {cell.student for cell in cells if cell.steps < 8} == {"big"}
    rows = [cell.row(cell.parameters**-0.3 * (1 + cell.seed / 1000)) for cell in cells]
    assert {row["steps"] for row in along(rows, Axis.steps)} == {1, 2, 4, 8}
    assert {row["labels"] for row in along(rows, Axis.labels)} == {4, 8, 16}
    lines = {(line.axis, line.law.form): line for line in lines_of(rows)}
    assert {axis for axis, _ in lines} == set(Axis)
    line = lines[Axis.parameters, Form.plain]
    assert line.sizes == (10, 20, 40)
    assert line.law.exponent.value == pytest.approx(0.3, abs=0.01)


def test_what_a_training_reached_is_read_where_it_was_measured(
    finished_run: Path, distillkit: CommandLine, tmp_path: Path
) -> None:
    run = tmp_path / "train" / "run"
    shutil.copytree(finished_run, run)
    directory = RunDirectory(run)
    after = directory.summary["student_after"]
    assert measured(directory, Measured.accuracy) == 1 - after["accuracy"]
    assert measured(directory, Measured.nll) == after["nll"]
    with pytest.raises(RunError, match=r"no divergence of the test split\. Choose another of="):
        measured(directory, Measured.divergence)
    asked = ["metric=divergence", "samples=1", "limit=4"]
    assert distillkit("eval", "run=train/run", *asked).code == 0
    results = json.loads((run / "evaluation" / "test" / "results.json").read_text())
    told = results["numbers"]["student"]["divergence"]["forward_kl_dataset"]["value"]
    assert measured(directory, Measured.divergence) == told > 0
