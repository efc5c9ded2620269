"""A full disk is one sentence, whichever library met it; other errors keep their traceback."""

import sqlite3
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from distillkit import cli
from distillkit.core.errors import RunError, is_full
from distillkit.core.store import Store

FULL = Path("/dev/full")
needs_dev_full = pytest.mark.skipif(
    not FULL.is_char_device(), reason="needs the device /dev/full, which Linux has"
)


def python() -> None:
    with FULL.open("wb") as file:
        file.write(b"a")


def optimiser() -> None:
    with FULL.open("wb") as file:
        torch.save({"a": torch.zeros(4096)}, file)


def weights() -> None:
    """What safetensors says; it would put a file in the place of the device itself."""
    raise SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    )


@needs_dev_full
@pytest.mark.parametrize("write", [python, weights, optimiser])
def test_every_writer_of_a_run_is_known_by_its_words(write):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (each library has its own type)
        write()
    assert is_full(caught.value)


def test_so_is_the_store(tmp_path, monkeypatch):
    """SQLite says the same of a file that may not grow as of a full disk."""
    connect = sqlite3.connect

    def narrow(*of, **how):
        connection = connect(*of, **how)
        connection.execute("PRAGMA max_page_count = 3")
        return connection

    store = Store(tmp_path / "kept.sqlite")
    store.put({"a": b"1"})
    monkeypatch.setattr(sqlite3, "connect", narrow)
    with pytest.raises(RunError, match="no space is left on the disk"):
        store.put({"b": b"2" * 100_000})
    monkeypatch.undo()
    assert store.get(["a", "b"]) == {"a": b"1"}


def test_what_caused_an_error_counts():
    caused = RuntimeError("could not save")
    caused.__cause__ = OSError(28, "No space left on device")
    assert is_full(caused)


@pytest.mark.parametrize("other", [OSError(13, "Permission denied"), ValueError("full"), None])
def test_other_errors_are_not_taken_for_it(other):
    assert not is_full(other)


@needs_dev_full
def test_the_command_line_says_it_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", lambda **_: python())
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the same command goes on from there" in said
