"""Servers that fail and come back, processes that die, keys: what is paid for is paid once."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distillkit.endpoints.asking import Room
from distillkit.models.loading import EMBEDDED
from tests.conftest import CommandLine, Start
from tests.served.stub import NAME, Stub
from tests.served.test_training import SMOKE, TOP, rows, served

KEY = "sk-cotton-umbrella-7431"
LONGER = [*SMOKE, "steps=12", "checkpoint.every=2", "loop.batch_size=4"]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub().serving() as running:
        yield running


def student(output: Path, name: str) -> bytes:
    return (output / "train" / name / "student" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_server_that_goes_and_comes_back_changes_nothing(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    """It is met anew before it is asked again, and the run says once that it waits."""
    stub = Stub()
    with stub.serving():
        typed = [*served(stub), *TOP, *LONGER, "policy=on_policy"]
        calm = distillkit("train", *typed, f"output={tmp_path / 'a'}", "name=calm")
    assert calm.code == 0, calm.err

    def come_and_go() -> None:
        for _ in range(2):
            seen = len(stub.scored)
            with stub.serving():
                while len(stub.scored) < seen + 18 and not done.is_set():
                    time.sleep(0.005)
            time.sleep(0.7)
        with stub.serving():
            done.wait()

    done, stub.scored = threading.Event(), []
    meetings = stub.paths.count("/version")
    restarting = threading.Thread(target=come_and_go)
    restarting.start()
    try:
        result = distillkit("train", *typed, f"output={tmp_path / 'b'}", "name=calm")
    finally:
        done.set()
        restarting.join()
    assert result.code == 0, result.err
    assert 1 <= result.out.count("waiting for up to 600 s") <= 3
    assert result.out.count("answers again") == result.out.count("waiting for up to 600 s")
    assert stub.paths.count("/version") > meetings + 1
    assert student(tmp_path / "a", "calm") == student(tmp_path / "b", "calm")


def test_another_model_that_comes_back_ends_the_run(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    stub = Stub(swapped_at=10)
    with stub.serving():
        typed = [*served(stub), *TOP, *LONGER, "policy=on_policy", f"output={tmp_path}"]
        result = distillkit("train", *typed)
    assert result.code == 2
    assert f"another model is served as teacher.model={NAME} than before it failed" in result.err
    again = Stub(folder=EMBEDDED / "student")
    with again.serving():
        typed[1] = f"teacher.url={again.url}"
        result = distillkit("train", *typed)
    assert result.code == 2
    assert "than the one whose answers are kept in" in result.err


def test_another_version_of_the_engine_is_said_and_asked_anew(
    distillkit: CommandLine, tmp_path: Path, stub: Stub
) -> None:
    typed = [*served(stub), *TOP, *LONGER, f"output={tmp_path}", "name=run", "loop.batch_size=2"]
    typed += ["optimizer.schedule=constant", "optimizer.warmup=0"]
    assert distillkit("train", *typed, "steps=2").code == 0
    before = stub.positions
    assert distillkit("train", *typed, "steps=2", "name=same").code == 0
    assert stub.positions == before
    stub.version = "0.33.0"
    result = distillkit("train", f"resume={tmp_path / 'train' / 'run'}", "steps=3")
    assert result.code == 0, result.err
    said = "the run began with engine vLLM 0.32.0 of the teacher, and goes on with vLLM 0.33.0"
    assert said in result.out
    other = distillkit("train", *typed, "steps=2", "name=other")
    assert other.code == 0, other.err
    assert stub.positions > before


def test_the_key_is_sent_and_stands_nowhere(
    distillkit: CommandLine, tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    typed = [*served(stub, "teacher.key_variable=TEACHER_KEY"), *TOP, *SMOKE]
    result = distillkit("train", *typed, f"output={tmp_path}", "steps=1")
    assert result.code == 0, result.err
    stub.fault = "400"
    failed = distillkit("train", *typed, f"output={tmp_path}", "steps=1", "seed=1")
    assert failed.code == 2
    assert stub.keys == {f"Bearer {KEY}"}
    left = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY.encode() not in left
    assert KEY not in result.out + result.err + failed.out + failed.err


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stop_ends_a_run_whose_server_is_down(
    number: int, started: Start, tmp_path: Path
) -> None:
    stub = Stub()
    with stub.serving():
        typed = [*served(stub), *TOP, *LONGER, f"output={tmp_path}", "name=run"]
        process = started("train", *typed, folder=tmp_path)
        while len(stub.scored) < 6 and process.poll() is None:
            time.sleep(0.01)
    log = tmp_path / "train" / "run" / "log.txt"
    while "waiting for up to" not in log.read_text() and process.poll() is None:
        time.sleep(0.05)
    begun = time.monotonic()
    os.kill(process.pid, number)
    _, err = process.communicate()
    assert process.wait() == 128 + number, err
    # While it waits, or behind a step whose replies had come.
    assert "; the same command goes on from" in err
    assert time.monotonic() - begun < 10


@pytest.mark.slow
def test_nothing_paid_is_asked_twice_through_five_kills(started: Start, tmp_path: Path) -> None:
    stub = Stub()
    with stub.serving():
        longer = [*TOP, *LONGER, "policy=on_policy"]
        calm = started("train", *served(stub), *longer, "output=calm", "name=run", folder=tmp_path)
        calm.communicate()
        assert calm.wait() == 0
        paid, stub.scored = len(stub.scored), []
        typed = [*served(stub), *longer, "output=killed", "name=run"]
        for kill in range(1, 6):
            process = started("train", *typed, folder=tmp_path)
            while len(stub.scored) < kill * paid // 6 and process.poll() is None:
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            assert process.wait() == -signal.SIGKILL
        last = started("train", *typed, folder=tmp_path)
        _, err = last.communicate()
        assert last.wait() == 0, err
    # A reply that was under way when the process died is lost, and asked again: 4 rows each time.
    print(f"{paid} rows, {len(stub.scored)} requests")
    assert len(set(stub.scored)) == paid
    assert len(stub.scored) <= paid + 5 * 4
    assert rows(tmp_path / "killed/train/run") == rows(tmp_path / "calm/train/run")
    assert student(tmp_path / "killed", "run") == student(tmp_path / "calm", "run")


def test_room_is_never_overdrawn_and_what_is_too_large_goes_alone() -> None:
    most, now = 0, 0

    async def work(room: Room, need: int) -> None:
        nonlocal most, now
        async with room.taken(need):
            now += need
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= need

    async def all_of_them() -> None:
        room = Room(10)
        async with asyncio.TaskGroup() as group:
            for need in (4, 7, 3, 6, 25, 5, 5, 1):
                group.create_task(work(room, need))

    asyncio.run(all_of_them())
    assert most == 25
    assert now == 0
