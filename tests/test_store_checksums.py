"""The store gives out what was kept under a key, or nothing."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from distillkit.core import store as module
from distillkit.core.errors import RunError
from distillkit.core.keeper import Keeper
from distillkit.core.store import Store

KEPT = {"a": b"first", "b": b"second", "c": b"third"}


def changed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "kept.sqlite")
    store.put(KEPT)
    return store


CHANGES: dict[str, tuple[str, set[str]]] = {
    "another text": ("UPDATE kept SET value = CAST('other' AS BLOB) WHERE key = 'b'", {"b"}),
    "one bit": ("UPDATE kept SET value = CAST('secone' AS BLOB) WHERE key = 'b'", {"b"}),
    "no bytes": ("UPDATE kept SET value = 7 WHERE key = 'b'", {"b"}),
    "nothing": ("UPDATE kept SET value = NULL WHERE key = 'b'", {"b"}),
    "a digest of another type": ("UPDATE kept SET digest = 1.5 WHERE key = 'b'", {"b"}),
    "another key's": (
        "UPDATE kept SET value = (SELECT value FROM kept WHERE key = 'a'),"
        " digest = (SELECT digest FROM kept WHERE key = 'a') WHERE key = 'b'",
        {"b"},
    ),
    "all swapped": (
        "UPDATE kept SET value = (SELECT value FROM kept AS other WHERE other.key ="
        " CASE kept.key WHEN 'a' THEN 'b' WHEN 'b' THEN 'c' ELSE 'a' END)",
        {"a", "b", "c"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_value_that_was_not_kept_under_its_key_is_never_given_out(
    change: str, store: Store
) -> None:
    statement, damaged = CHANGES[change]
    changed(store.path, statement)
    found = store.get(KEPT)
    assert found == {key: KEPT[key] for key in KEPT.keys() - damaged}
    assert store.damaged == damaged


def test_it_is_made_again_with_a_warning_and_then_kept(store: Store) -> None:
    changed(store.path, "UPDATE kept SET value = CAST('other' AS BLOB) WHERE key = 'b'")
    said: list[str] = []

    def keeper() -> Keeper:
        return Keeper(
            Store(store.path),
            batch_size=2,
            poll=lambda: None,
            progress=lambda *_: None,
            say=said.append,
        )

    def make(rows: object) -> list[bytes]:
        return [KEPT[list(KEPT)[row]] for row in rows]

    first = keeper()
    assert first.get("texts", list(KEPT), lengths=[1, 1, 1], make=make) == list(KEPT.values())
    assert first.made == {"texts": 1}
    assert ["warning: 1 texts in" in line for line in said] == [True]
    again = keeper()
    assert again.get("texts", list(KEPT), lengths=[1, 1, 1], make=make) == list(KEPT.values())
    assert not again.made
    assert len(said) == 1


def earlier(path: Path) -> Store:
    """A store as versions without checksums made them."""
    changed(
        path,
        "CREATE TABLE kept (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
        "INSERT INTO kept VALUES ('a', CAST('first' AS BLOB))",
    )
    return Store(path)


def test_a_store_without_checksums_is_read_with_a_note_and_added_to(tmp_path: Path) -> None:
    store = earlier(tmp_path / "old.sqlite")
    said: list[str] = []
    assert store.get(["a", "b"]) == {"a": b"first"}
    store.tell("replies", ["a", "b"], said.append)
    assert len(said) == 1
    assert "without checksums" in said[0]
    store.put({"b": b"second"})
    fresh = Store(store.path)
    assert fresh.get(["a", "b"]) == {"a": b"first", "b": b"second"}
    assert fresh.unchecked == {"a"}


def test_reading_writes_nothing(tmp_path: Path) -> None:
    for make in (earlier, lambda path: path.touch()):
        path = tmp_path / f"{make.__name__.strip('<>')}.sqlite"
        make(path)
        before = path.read_bytes()
        Store(path).get(["a"])
        assert path.read_bytes() == before


def test_another_table_is_no_store(tmp_path: Path) -> None:
    changed(tmp_path / "mine", "CREATE TABLE kept (name TEXT)")
    with pytest.raises(RunError, match="mine cannot be read as a store"):
        Store(tmp_path / "mine")


def test_a_store_that_is_held_is_said_to_be(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    with closing(sqlite3.connect(store.path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RunError, match="held by another process.*Wait for"):
            store.put({"d": b"fourth"})
    store.put({"d": b"fourth"})


@pytest.mark.parametrize(
    "damage", [lambda kept: kept[:-100], lambda kept: kept[:100] + bytes(200) + kept[300:]]
)
def test_a_damaged_file_is_one_sentence(damage: Callable[[bytes], bytes], store: Store) -> None:
    store.path.write_bytes(damage(store.path.read_bytes()))
    with pytest.raises(RunError, match=r"cannot be read as a store \([^\n]*\)\. Move it away"):
        store.get(KEPT)


def test_values_are_what_json_wrote(store: Store) -> None:
    store.put({"j": json.dumps({"tokens": [1, 2]}).encode()})
    shutil.copy(store.path, store.path.with_name("moved"))
    assert Store(store.path.with_name("moved")).get(["j"]) == {"j": b'{"tokens": [1, 2]}'}
