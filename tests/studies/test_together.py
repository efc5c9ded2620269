"""Trainings that share a process: what fails is left, and the others are done."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from distillkit.programs.study.together import do_share
from tests.conftest import SMOKE


def test_a_training_that_fails_does_not_take_the_others_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"output={tmp_path}"
    bad = {"train": [*SMOKE, place, "student=hf", "student.name=nowhere", "name=bad"], "eval": []}
    run = tmp_path / "train" / "good"
    good = {"train": [*SMOKE, place, "name=good"], "eval": [f"run={run}", "limit=2", "samples=1"]}
    share = {"work": [bad, good], "config_dir": None, "plugins": []}
    do_share(share, Console(file=io.StringIO()))
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("failed  bad  ")
    assert told[1] == "done  good"
    assert json.loads((run / "evaluation" / "test" / "results.json").read_text())["n"] == 2
