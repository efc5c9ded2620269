"""``distillkit study fidelity run`` from end to end, and killed on the way."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.programs.study.fidelity.run import billions, study_fidelity_run
from tests.conftest import CommandLine
from tests.studies.fidelity import SMALL
from tests.test_bad_input import said

TABLES = ("results.csv", "paradox.csv", "tests.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study."""
    output = tmp_path_factory.mktemp("fidelity")
    composed = compose("fidelity", [*SMALL, f"output={output}", "name=whole"])
    return study_fidelity_run(composed).path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_leaves_a_row_a_run_a_picture_and_a_folder_to_report_on(
    finished: Path, distillkit: CommandLine
) -> None:
    told = rows(finished)
    assert [row["seed"] for row in told] == ["0", "1", "2"]
    for row in told:
        assert float(row["gain"]) == float(row["accuracy"]) - float(row["sft_accuracy"])
        assert float(row["student_size"]) == pytest.approx(258_336 / 1e9)
    assert (finished / "paradox.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["study"], len(summary["means"])) == ("fidelity", 1)
    assert distillkit("report", str(finished)).code == 0


def test_a_row_is_what_the_evaluation_of_its_run_says(finished: Path) -> None:
    run = finished / "train" / "kd-large-pupil-chain-forward_kl-tau1-noise0-seed1"
    results = json.loads((run / "evaluation" / "test" / "results.json").read_text())
    student = results["numbers"]["student"]
    row = rows(finished)[1]
    assert float(row["accuracy"]) == 100 * student["accuracy"]["accuracy"]["value"]
    assert float(row["bleu"]) == student["similarity"]["bleu_to_teacher"]["value"]
    assert float(row["kl"]) == student["divergence"]["forward_kl_teacher"]["value"]
    assert billions(run / "student") == pytest.approx(258_336 / 1e9)


def test_a_finished_study_is_shown_and_another_one_of_its_name_is_refused(
    finished: Path, distillkit: CommandLine
) -> None:
    typed = [*SMALL, f"output={finished.parents[2]}", "name=whole"]
    again = distillkit("study", "fidelity", "run", *typed)
    assert again.code == 0
    assert again.out.startswith("already done")
    assert "absent: AQuA, AddSub" in " ".join(again.out.split())
    other = distillkit("study", "fidelity", "run", *typed, "examples=7")
    said(other, "holds another configuration: examples is 8 there and 7 here", "name=")


@pytest.mark.slow
def test_a_study_that_is_killed_twice_ends_with_the_same_tables(
    finished: Path, tmp_path: Path
) -> None:
    typed = ["study", "fidelity", "run", *SMALL, f"output={tmp_path}", "name=whole"]
    command = [sys.executable, "-m", "distillkit", *typed]
    folder = tmp_path / "study" / "fidelity" / "whole"
    for enough in (1, 4):
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        while len(list(folder.glob("train/*/summary.json"))) < enough:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (folder / "summary.json").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in TABLES:
        assert (folder / name).read_bytes() == (finished / name).read_bytes()
