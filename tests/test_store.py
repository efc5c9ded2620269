"""The store: what is kept outlives processes, and a key keeps its first value."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from distillkit.core.errors import RunError
from distillkit.core.store import AT_ONCE, Store, key_of

WRITE = """
import sys
from pathlib import Path
from distillkit.core.store import Store
store, name = Store(Path(sys.argv[1])), sys.argv[2]
for n in range(50):
    store.put({f"{name}-{n}": name.encode(), f"shared-{n}": name.encode()})
    print(n, flush=True)
"""


def test_what_was_put_is_found_by_another_store_of_the_file(tmp_path: Path) -> None:
    values = {key_of(n): bytes([n % 256]) for n in range(3 * AT_ONCE)}
    Store(tmp_path / "deep" / "kept").put(values)
    assert Store(tmp_path / "deep" / "kept").get([*values, "unknown"]) == values


def test_a_key_keeps_its_first_value(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    store.put({"a": b"first"})
    store.put({"a": b"second", "b": b"other"})
    assert store.get(["a", "b"]) == {"a": b"first", "b": b"other"}


def test_asking_a_store_that_is_not_there_makes_no_file(tmp_path: Path) -> None:
    assert Store(tmp_path / "kept").get(["a"]) == {}
    assert not list(tmp_path.iterdir())


def test_a_key_depends_on_every_part_and_on_where_it_stands() -> None:
    keys = {
        key_of("a", "b"),
        key_of("b", "a"),
        key_of("ab"),
        key_of(["a"], "b"),
        key_of("a", ["b"]),
        key_of("a", None),
        key_of("a", 1),
        key_of("a", "1"),
    }
    assert len(keys) == 8
    assert key_of({"x": 1, "y": (2, 3)}) == key_of({"y": [2, 3], "x": 1})


def test_several_processes_write_at_once_and_one_that_is_killed_loses_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "kept"
    writers = {
        name: subprocess.Popen(
            [sys.executable, "-c", WRITE, str(path), name], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    }
    said = [writers["one"].stdout.readline() for _ in range(10)]
    writers["one"].kill()
    assert writers["two"].wait(60) == 0
    store = Store(path)
    confirmed = len(said)
    assert len(store.get(f"one-{n}" for n in range(confirmed))) == confirmed
    assert len(store.get(f"two-{n}" for n in range(50))) == 50
    assert set(store.get(f"shared-{n}" for n in range(50)).values()) <= {b"one", b"two"}


def test_one_of_many_values_is_found_by_its_key_and_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    many = [key_of(n) for n in range(100_000)]
    store.put(dict.fromkeys(many, b"a lesson of some hundred characters" * 10))

    def seconds(key: str) -> float:
        began = time.perf_counter()
        assert store.get([key])
        return time.perf_counter() - began

    # Measured 0.08 ms; a reading of the whole file takes some 100 ms.
    assert median(map(seconds, many[::500])) < 1e-3
    with closing(sqlite3.connect(store.path)) as connection:
        query = "EXPLAIN QUERY PLAN SELECT key, value FROM kept WHERE key IN (?)"
        ((*_, plan),) = connection.execute(query, many[:1])
    assert plan == "SEARCH kept USING PRIMARY KEY (key=?)"


def test_an_empty_file_left_by_a_crash_is_a_store(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.touch()
    store = Store(path)
    store.put({"a": b"1"})
    assert store.get(["a"]) == {"a": b"1"}


def test_a_file_that_is_no_store_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are notes, and no store at all. " * 50)
    with pytest.raises(RunError, match=f"{path} cannot be read as a store"):
        Store(path)
    assert path.read_text().startswith("These are notes")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written as a store"):
        Store(tmp_path / "file" / "kept").put({"a": b"1"})
