"""Interrupted and resumed equals uninterrupted, bit for bit."""

import os
import shutil
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.errors import Interrupted
from distillkit.models import library
from distillkit.models.library import Library
from distillkit.programs.train.program import train
from distillkit.training.kept_text import NAME
from tests.conftest import Start

TINY = ["debug=smoke", "tracker=none", "steps=6", "checkpoint.every=2", "evaluation.every=3"]
KEPT = ("metrics.jsonl", "samples.jsonl", "student/model.safetensors")


def run(output: Path, *more: str) -> Path:
    return train(compose("train", [*TINY, *more, f"output={output}", "name=run"])).path


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT}


def wait_for_step(folder: Path, step: int) -> None:
    journal, deadline = folder / "metrics.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline:
        if journal.is_file() and f'"step": {step}' in journal.read_text():
            return
        time.sleep(0.005)
    raise TimeoutError(f"step {step} was never reached")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(run(tmp_path_factory.mktemp("whole"), "policy=mixed"))


def test_a_killed_run_resumes_to_the_same_bytes(
    uninterrupted: dict[str, bytes], started: Start, tmp_path: Path
) -> None:
    asked = [*TINY, "policy=mixed", "name=run", f"output={tmp_path}"]
    process = started("train", *asked, folder=tmp_path)
    wait_for_step(tmp_path / "train" / "run", 3)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    folder = tmp_path / "train" / "run"
    assert not (folder / "summary.json").exists()
    assert contents(run(tmp_path, "policy=mixed")) == uninterrupted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_saves_where_the_run_stands(
    number: signal.Signals, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "train" / "run"

    def send() -> None:
        wait_for_step(folder, 1)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted) as stopped:
        run(tmp_path, "policy=mixed")
    sender.join()
    assert stopped.value.signal == number
    assert not (folder / "summary.json").exists()
    assert list((folder / "checkpoints").glob("step-*"))
    assert not list(folder.rglob("*.partial"))
    assert contents(run(tmp_path, "policy=mixed")) == uninterrupted


def test_a_run_goes_on_with_the_products_that_it_began_with(
    uninterrupted: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two libraries add up in different orders, and a processor may be measured anew."""
    other = {Library.onednn: Library.blas, Library.blas: Library.onednn}
    choice = {name: other[chosen] for name, chosen in library._kept().items()}
    folder = tmp_path / "train" / "run"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(library, "_kept", lambda: choice)
        whole = contents(run(tmp_path / "whole", "policy=mixed"))
        sender = threading.Thread(
            target=lambda: (wait_for_step(folder, 1), os.kill(os.getpid(), signal.SIGTERM))
        )
        sender.start()
        with pytest.raises(Interrupted):
            run(tmp_path, "policy=mixed")
        sender.join()
    assert whole != uninterrupted
    assert contents(run(tmp_path, "policy=mixed")) == whole
    # The next run of this process has its own again.
    assert contents(run(tmp_path / "again", "policy=mixed")) == uninterrupted


def test_another_seed_gives_other_bytes(uninterrupted: dict[str, bytes], tmp_path: Path) -> None:
    assert contents(run(tmp_path, "policy=mixed", "seed=1")) != uninterrupted


def test_a_teacher_stopped_while_writing_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = ["policy=seq_kd", "teacher_rollout.batch_size=4"]
    whole = run(tmp_path / "whole", *settings)
    known = rows(tmp_path / "whole" / "kept" / NAME)
    copy = tmp_path / "part" / "kept" / NAME
    copy.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "kept" / NAME, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        half = [(key,) for key, _ in known[: len(known) // 2]]
        connection.executemany("DELETE FROM kept WHERE key = ?", half)
    assert 0 < len(rows(copy)) < len(known)
    assert contents(run(tmp_path / "part", *settings)) == contents(whole)
    assert rows(copy) == known


def rows(store: Path) -> list[tuple[str, bytes]]:
    """Keys and values."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("SELECT key, value FROM kept ORDER BY key").fetchall()
