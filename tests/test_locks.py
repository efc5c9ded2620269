"""File systems that refuse locks: a warning where one process is enough, else one sentence."""

import errno
import fcntl
import threading
import time
from pathlib import Path

import pytest

from distillkit.core.errors import RunError
from distillkit.core.locking import one_at_a_time
from distillkit.core.rundir import RunDirectory
from distillkit.core.store import Store
from tests.conftest import SMOKE, CommandLine

REFUSALS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]


def refusing(number: int) -> object:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    return refuse


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
def test_a_training_goes_on_with_a_warning_where_locks_are_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    directory = RunDirectory(tmp_path / "run")
    claim = {"fingerprint": "a", "config": "{}\n", "overrides": [], "provenance": {}}
    with directory.claim(**claim) as notes:
        assert ["refuses locks" in note for note in notes] == [True]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES], ids=errno.errorcode.get)
def test_a_lock_that_is_held_is_no_refusal(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    claim = {"fingerprint": "a", "config": "{}\n", "overrides": [], "provenance": {}}
    with (
        pytest.raises(RunError, match="another process is at work"),
        RunDirectory(tmp_path / "run").claim(**claim),
    ):
        pass


def test_the_command_line_warns_and_trains(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    result = distillkit("train", *SMOKE, "name=run", "policy=seq_kd")
    assert result.code == 0
    assert result.out.count("refuses locks") == 2, "for the run and for the teacher's text"


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
def test_a_store_says_at_once_that_locks_are_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "lockf", refusing(number))
    began = time.monotonic()
    with pytest.raises(RunError, match="refuses locks.*evidence=.*replies="):
        Store(tmp_path / "kept").put({"a": b"1"})
    assert time.monotonic() - began < 1
    assert not list(tmp_path.iterdir())


def test_what_two_runs_make_is_made_one_after_the_other(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with one_at_a_time(tmp_path / "lock", what="text", say=order.append):
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with one_at_a_time(tmp_path / "lock", what="text", say=order.append):
        inside.set()
        time.sleep(0.2)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
