"""Life on clusters and terminals: signals while a verb works, readers that leave, odd names."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import SMOKE, CommandLine, Start

LONG = [*SMOKE, "evaluation.every=0", "evaluation.test=0", "steps=4000"]
ODD = "[red]x [b] :smile: $\\foo$"
"""A name that is markup, an emoji and mathematics to others; what Hydra reads between quotes."""


def begin(folder: Path, *arguments: str, **how) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "distillkit", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def wait_for(folder: Path, pattern: str) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if found := [file for file in folder.glob(pattern) if file.stat().st_size]:
            return found[0]
        time.sleep(0.01)
    raise TimeoutError(f"there was never a {pattern}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def test_a_reader_that_leaves_does_not_end_a_training(tmp_path: Path) -> None:
    process = begin(tmp_path, "train", *SMOKE, "name=run", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert ended(process) == (0, "")
    folder = tmp_path / "outputs" / "train" / "run"
    assert (folder / "summary.json").is_file()
    assert "curves" in (folder / "log.txt").read_text()


@pytest.mark.usefixtures("wide")
def test_a_training_says_what_it_measures(distillkit: CommandLine) -> None:
    said = [line for line in distillkit("train", *SMOKE).out.splitlines() if "measuring" in line]
    sides = ("student before", "teacher", "student after")
    assert said == [f"measuring the {side} on 8 test examples" for side in sides]
    assert "measuring" not in distillkit("train", *SMOKE, "evaluation.test=0", "name=none").out


def test_a_warned_sweep_saves_its_cell_and_begins_no_other(started: Start, tmp_path: Path) -> None:
    process = started("sweep", *LONG, "seed=3,4", folder=tmp_path)
    cell = wait_for(tmp_path, "outputs/train/*/metrics.jsonl").parent
    process.send_signal(signal.SIGUSR1)
    _, said = process.communicate()
    assert (process.returncode, said.count("\n")) == (128 + signal.SIGUSR1, 1)
    assert "the same command goes on" in said
    assert list(cell.glob("checkpoints/step-*"))
    assert list(cell.parent.iterdir()) == [cell]


@pytest.mark.parametrize("verb", ["train", "doctor"])
def test_a_signal_while_loading_is_one_sentence(
    verb: str, distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distillkit.datasets.arithmetic import Arithmetic

    def warned(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Arithmetic, "examples", warned)
    result = distillkit(verb, *SMOKE)
    assert (result.code, result.err.count("\n")) == (128 + signal.SIGUSR1, 1)
    assert "the same command starts again" in result.err
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("wide")
def test_odd_names_are_printed_as_they_are(distillkit: CommandLine) -> None:
    named = f"name='{ODD}'"
    for arguments, shown in (
        (["train", *SMOKE, named], f"run directory outputs/train/{ODD}\n"),
        (["train", *SMOKE, named], f"already done: outputs/train/{ODD}\n"),
        (["doctor", *SMOKE, named], f"run directory outputs/train/{ODD} is already done"),
        (["estimate", *SMOKE, named, "--repeats", "2"], f"numbers  outputs/estimate/{ODD}.json\n"),
        (["eval", f"run='outputs/train/{ODD}'", "metric=accuracy"], f"{ODD} (test, n = 8"),
        (["report", f"outputs/train/{ODD}"], f"page   outputs/report/{ODD}/report.html\n"),
    ):
        result = distillkit(*arguments)
        assert (result.code, result.err) == (0, ""), arguments
        assert shown in result.out


def test_an_error_repeats_what_was_typed(distillkit: CommandLine) -> None:
    typed = "[/x] :smile: [bold]"
    assert f"run={typed} is not a run directory" in distillkit("eval", f"run='{typed}'").err
    assert typed in distillkit("report", typed).err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ("show", 2, "could not be printed (No space left"),
        ("--version", 0, "some of what was printed is lost (No space left"),
    ],
)
def test_what_cannot_be_printed_is_said_and_an_error_where_it_was_all_that_was_asked(
    asked: str, code: int, said: str, distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        result = distillkit(asked)
    assert (result.code, said in result.err) == (code, True)
