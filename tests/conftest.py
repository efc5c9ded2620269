"""The command line as a fixture, in this process for speed or in one of its own; a finished run."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from distillkit import cli
from distillkit.compose import compose
from distillkit.programs.train import train

SMOKE = ("tracker=none", "debug=smoke")
"""Overrides that end a training in a second or two."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a call of the command line left: exit code and both streams."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Result]


@pytest.fixture
def distillkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> CommandLine:
    """Call ``distillkit ...`` in this process, in a fresh folder, through its entry point."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["distillkit", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        return Result(int(stop.value.code or 0), out, err)

    return call


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of one line a row, so that they can be searched for words."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture(scope="session")
def distillkit_process() -> CommandLine:
    """Call ``python -m distillkit ...`` in a process of its own, in the folder given."""

    def call(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "distillkit", *arguments],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a finished smoke training; copy it before you change it."""
    output = tmp_path_factory.mktemp("finished")
    composed = compose("train", [*SMOKE, f"output={output}", "name=run"])
    return train(composed, console=Console(file=io.StringIO())).path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder, with its bytes where it is a file."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Grids first: they take longest, and other tests fill in beside them."""
    items.sort(key=lambda item: "test_sweep" not in item.nodeid)
