"""Trainings that share a process: what fails is told, and the others are done."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from distillkit.programs.cell import Bench
from distillkit.programs.study import together
from distillkit.programs.study.together import Answer, Work, done, run_together
from tests.conftest import SMOKE


def work(name: str, folder: Path, *overrides: str, evaluated: bool = False) -> Work:
    place = folder / "train" / name
    return Work(
        name=name,
        train=[*SMOKE, f"output={folder}", *overrides, f"name={name}"],
        eval=[f"run={place}", "limit=2", "samples=1"] if evaluated else [],
    )


def test_a_training_that_fails_is_told_and_one_that_does_not_is_evaluated(tmp_path: Path) -> None:
    nowhere = Console(file=io.StringIO())
    bad = work("bad", tmp_path, "student=hf", "student.name=nowhere/at-all")
    failed = done(bad, nowhere, config_dir=None, plugins=[])
    assert failed["name"] == "bad"
    assert "nowhere/at-all" in failed["error"]
    good = done(work("good", tmp_path, evaluated=True), nowhere, config_dir=None, plugins=[])
    assert good["error"] == ""
    assert good["score"].startswith("accuracy")
    results = tmp_path / "train" / "good" / "evaluation" / "test" / "results.json"
    assert json.loads(results.read_text())["n"] == 2


def test_the_next_process_goes_on_where_one_has_had_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Answer] = []
    monkeypatch.setattr(together, "SHARE", 1)
    run_together(
        [work(name, tmp_path, "student=hf", "student.name=nowhere/at-all") for name in "ab"],
        Bench("group"),
        processes=1,
        heard=answers.append,
    )
    assert [answer["name"] for answer in answers] == ["a", "b"]
