"""W&B watches a run and never ends it; what it keeps offline is whole after a kill."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from distillkit.core.errors import ConfigError, Interrupted
from distillkit.training import weights_and_biases
from distillkit.training.tracker import Tracked
from distillkit.training.weights_and_biases import WatchedRun, WeightsAndBiases

from ..conftest import CommandLine
from ..test_resume import wait_for_step

pytestmark = pytest.mark.usefixtures("fresh_wandb")

BLOCK, WHOLE, LAST = 32768, 1, 4
KEY = "5e" * 20
STEPS = ["tracker=wandb", "debug=smoke", "steps=4", "checkpoint.every=4", "evaluation.every=3"]


def started(folder: Path, say: Callable[[str], None]) -> Tracked:
    tracker = WeightsAndBiases()
    return tracker.start(folder=folder, name="run", identity="a1", config={"a": 1}, say=say)


def records(file: Path) -> Iterator[bytes]:
    """Records of a .wandb file: LevelDB's log after seven bytes of W&B's own."""
    data, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := BLOCK - place % BLOCK) < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""


def history(run: Path) -> list[dict[str, Any]]:
    """The steps in the newest offline run under a run directory."""
    # What is finished is only then surely in the file.
    wandb.teardown()
    (file,) = max((run / "wandb").glob("offline-run-*")).glob("*.wandb")
    rows = []
    for data in records(file):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
            rows.append(row)
    return rows


@pytest.mark.parametrize("mode", ["off", "nonsense", "OFFLINE", ""])
def test_an_unknown_mode_is_named_with_those_that_there_are(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    with pytest.raises(ConfigError) as error:
        WeightsAndBiases().mode()
    assert f"WANDB_MODE={mode!r}" in str(error.value)
    assert "online, run, offline, dryrun, shared, disabled" in str(error.value)


def test_the_command_line_says_so_before_anything_is_written(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "off")
    result = distillkit("train", *STEPS)
    assert (result.code, result.err.count("\n"), Path("outputs").exists()) == (2, 1, False)
    assert "WANDB_MODE='off'" in result.err


@pytest.mark.parametrize(
    ("mode", "comes_to"),
    [("online", "online"), ("run", "online"), ("dryrun", "offline"), ("disabled", "disabled")],
)
def test_known_modes_are_taken(mode: str, comes_to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    assert WeightsAndBiases().mode() == comes_to


def test_a_wrong_variable_of_wandb_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "nonsense")
    with pytest.raises(ConfigError, match="base_url"):
        WeightsAndBiases().mode()


def test_disabled_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = started(tmp_path / "run", pytest.fail)
    run.log({"loss": 1.0}, step=1)
    run.finish({}, failed=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("answer", [None, 401], ids=["nobody answers", "the key is refused"])
def test_without_its_server_a_run_is_kept_offline_at_once(
    answer: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusing: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", refusing if answer else "http://127.0.0.1:9")
    said: list[str] = []
    run = started(tmp_path, said.append)
    run.log({"loss": 1.0}, step=1)
    run.finish({}, failed=False)
    (note,) = said
    assert "kept offline" in note
    assert KEY not in note
    assert [row["loss"] for row in history(tmp_path)] == [1.0]


@pytest.fixture
def refusing() -> Iterator[str]:
    """A server that knows no key."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_name_that_takes_for_ever_to_be_looked_up_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(weights_and_biases, "REACH", 0.05)

    def look_up(*_: object, **__: object) -> None:
        hanging.wait(10)
        raise OSError

    monkeypatch.setattr(weights_and_biases.urllib.request, "urlopen", look_up)
    assert not weights_and_biases._in_reach("https://somewhere")
    hanging.set()


def kill_service() -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("finds the service in /proc")
    for thread in Path("/proc/self/task").iterdir():
        for child in (thread / "children").read_text().split():
            if "wandb-core" in Path("/proc", child, "cmdline").read_text():
                os.kill(int(child), signal.SIGKILL)


def test_a_service_that_dies_midway_is_told_once_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    said: list[str] = []
    run = started(tmp_path, said.append)
    kill_service()
    for step in range(1, 200):
        run.log({"loss": 1.0}, step=step)
        if said:
            break
    run.samples([{"step": 1, "id": "a"}], step=200)
    run.finish({"test/accuracy": 1.0}, failed=False)
    (note,) = said
    assert "metrics.jsonl" in note


def test_a_service_that_an_earlier_run_left_dead_costs_the_next_one_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    started(tmp_path / "first", pytest.fail).finish({}, failed=False)
    kill_service()
    run = started(tmp_path / "second", pytest.fail)
    run.log({"loss": 1.0}, step=1)
    run.finish({}, failed=False)
    assert [row["loss"] for row in history(tmp_path / "second")] == [1.0]


class Heard:
    """What W&B's own run is to us, with steps that its server already has."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def log(self, row: dict[str, Any], *, step: int) -> None:
        self.rows.append((step, row))


JOURNAL = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "validation/nll": 1.0}]


@pytest.mark.parametrize(("known", "sent"), [(0, [1, 2, 2]), (2, [2, 2]), (3, [])])
def test_the_journal_is_sent_again_from_where_the_server_has_none(
    known: int, sent: list[int]
) -> None:
    heard = Heard(known)
    WatchedRun(heard, pytest.fail).again(JOURNAL, [])
    assert [step for step, _ in heard.rows] == sent
    assert all("step" not in row for _, row in heard.rows)


def test_an_offline_run_that_was_stopped_and_resumed_has_every_step_once(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = Path("outputs/train/run").absolute()
    sender = threading.Thread(
        target=lambda: (wait_for_step(folder, 3), os.kill(os.getpid(), signal.SIGUSR1))
    )
    sender.start()
    try:
        stopped = distillkit("train", *STEPS, "steps=30", "name=run")
    except Interrupted:
        pytest.fail("a traceback")
    sender.join()
    assert (stopped.code, "Traceback" in stopped.err) == (128 + signal.SIGUSR1, False)
    resumed = distillkit("train", *STEPS, "steps=30", "name=run")
    assert resumed.code == 0
    rows = history(folder)
    journal: dict[int, dict[str, Any]] = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        journal.setdefault(row.pop("step"), {}).update(row)
    assert [row["_step"] for row in rows] == sorted(journal)
    for row in rows:
        assert journal[row["_step"]].items() <= row.items()
    assert [row["_step"] for row in rows if "samples" in row] == [
        step for step in journal if "validation/nll" in journal[step]
    ]
