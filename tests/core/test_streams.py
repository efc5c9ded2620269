"""Standard streams that are gone, full or narrow end nothing that writes to them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from distillkit.core.streams import lasting, lost


def opened(descriptor: int, *, encoding: str = "utf-8", errors: str = "strict"):
    return open(descriptor, "w", encoding=encoding, errors=errors, closefd=False)


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch):
    """Standard output is a pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", opened(writing))
    yield
    os.close(writing)


@pytest.mark.usefixtures("unread")
def test_a_reader_that_has_left_ends_nothing_and_is_no_loss() -> None:
    with lasting():
        for _ in range(3):
            print("x" * 10_000, flush=True)
        assert lost() is None


def test_so_does_a_terminal_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    os.close(ours)
    monkeypatch.setattr(sys, "stderr", opened(theirs))
    with lasting():
        print("on a lost line", file=sys.stderr, flush=True)
    os.close(theirs)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_a_full_disk_behind_standard_output_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(sys, "stdout", opened(full))
    with lasting():
        assert lost() is None
        print("x")
        assert lost().strerror == "No space left on device"
    os.close(full)


def test_letters_that_the_locale_lacks_are_spelled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as narrow:
        monkeypatch.setattr(sys, "stdout", narrow)
        with lasting():
            print("ü │")
    assert (tmp_path / "out").read_text() == "\\xfc \\u2502\n"


def test_what_is_printed_arrives_and_the_streams_come_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with lasting():
            print("ü")
        assert sys.stdout is file
    assert (tmp_path / "out").read_text(encoding="utf-8") == "ü\n"


CLOSED = """
from distillkit.core.streams import lasting
with lasting():
    with open("file", "w") as file:
        print("printed", flush=True)
        assert file.fileno() > 2
"""


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    closed = f"{sys.executable} -c '{CLOSED}' >&- 2>&-"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(closed, shell=True, cwd=tmp_path, env=environment).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""
