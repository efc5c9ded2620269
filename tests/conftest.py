"""The command line as a fixture, in this process for speed or in one of its own; a finished run."""

import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from tests import shapes

shapes.install()

from distillkit import cli
from tests.forking import ADDRESS, Started, zygote

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


@pytest.fixture
def fresh_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """W&B as on a machine where nobody logged in, with no service left from another test."""
    import wandb

    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture(scope="session")
def zygote_address() -> Iterator[None]:
    """A zygote for :class:`~tests.forking.Started`: the one of the test run, or one of our own."""
    if ADDRESS in os.environ:
        yield
    else:
        with zygote():
            yield


Start = Callable[..., Started]


@pytest.fixture(scope="session")
def started(zygote_address: None) -> Start:
    """Start ``python -m distillkit ...`` in a process of its own, in the folder given."""
    return Started


@pytest.fixture(scope="session")
def distillkit_process(started: Start) -> CommandLine:
    """Call ``python -m distillkit ...`` in a process of its own, in the folder given."""

    def call(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Result:
        process = started(*arguments, folder=folder, environment=environment)
        out, err = process.communicate()
        return Result(process.wait(), out, err)

    return call


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a finished smoke training; copy it before you change it."""
    from distillkit.compose import compose
    from distillkit.programs.train.program import train

    output = tmp_path_factory.mktemp("finished")
    composed = compose("train", [*SMOKE, f"output={output}", "name=run"])
    return train(composed, console=Console(file=io.StringIO())).path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder, with its bytes where it is a file."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def pytest_configure(config: pytest.Config) -> None:
    """One zygote for all workers, which inherit its address.

    The process that hands out tests runs none and imports nothing that costs time.
    """
    if getattr(config.option, "numprocesses", None):
        serving = ExitStack()
        serving.enter_context(zygote())
        config.add_cleanup(serving.close)
    else:
        from tests.hydra_once import compose_quickly

        compose_quickly()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait for servers and processes of theirs."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Grids first: they take longest, and other tests fill in beside them."""
    items.sort(key=lambda item: "test_sweep" not in item.nodeid)


def pytest_collection_finish() -> None:
    """What has been imported stays: looking through it again and again took a tenth of the time.

    What tests leave is small, and looked through less often than Python does by itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
