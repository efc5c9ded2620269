"""A durable file of answers to expensive questions: a process that dies loses none of them."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import sha256
from json import dumps
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from distillkit.core.errors import FULL, RunError, is_full
from distillkit.core.locking import can_lock

AT_ONCE = 500
"""Keys of one query; SQLite allows a few tens of thousands."""

PATIENCE = 20.0
"""Seconds that another process that writes is waited for."""

COLUMNS = {"key", "value", "digest"}


def key_of(*parts: Any) -> str:
    """A key that depends on every part, which are JSON values, and on nothing else."""
    text = dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


def digest_of(key: str, value: bytes) -> bytes:
    """What tells that a value is the one that was kept under a key."""
    return sha256(key.encode() + b"\0" + value).digest()


class Store:
    """Keys to values in an SQLite file, shared by processes of one machine.

    Every value has a digest of itself and its key. One that does not fit its digest was never kept
    here: it is not given out, and what is put in its place stays.

    Args:
        path: the file; made with its folder on the first write.

    Raises:
        RunError: the file is no store, or cannot be opened.

    Attributes:
        damaged: keys whose values did not fit their digests.
        unchecked: keys of values without a digest, which earlier versions kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: set[str] = set()
        self.unchecked: set[str] = set()
        self._locks = False
        if path.exists():
            self.get([])

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What is known of these keys; nothing is written."""
        wanted = list(keys)
        found: dict[str, bytes] = {}
        if not self.path.exists():
            return found
        with self._opened("read") as connection:
            columns = _columns(connection)
            if not columns:
                return found
            digest = "digest" if "digest" in columns else "NULL"
            for start in range(0, len(wanted), AT_ONCE):
                part = wanted[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value, {digest} FROM kept WHERE key IN ({marks})"
                for row in connection.execute(query, part):
                    if self._sound(*row):
                        found[row[0]] = row[1]
        return found

    def tell(self, kind: str, keys: Iterable[str], say: Callable[[str], None]) -> None:
        """Tell what :meth:`get` found wrong with these keys.

        Args:
            kind: what the values are.
            keys: that were asked for.
            say: takes a line for the person who waits.
        """
        asked = set(keys)
        damaged, unchecked = (len(found & asked) for found in (self.damaged, self.unchecked))
        if damaged:
            say(
                f"warning: {damaged} {kind} in {self.path} are not what was kept there; they are "
                "made again"
            )
        if unchecked:
            say(
                f"note: {unchecked} {kind} in {self.path} were kept by a version without checksums,"
                " so whether they are still what was written cannot be told"
            )

    def put(self, values: Mapping[str, bytes]) -> None:
        """Keep values; on return they outlive the process. A key already there keeps its value.

        Raises:
            RunError: the file cannot be written.
        """
        rows = [(key, value, digest_of(key, value)) for key, value in values.items()]
        again = [(key,) for key in values if key in self.damaged]
        with self._opened("written") as connection, connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB, digest BLOB)"
                " WITHOUT ROWID"
            )
            if "digest" not in _columns(connection):
                connection.execute("ALTER TABLE kept ADD COLUMN digest BLOB")
            connection.executemany("DELETE FROM kept WHERE key = ?", again)
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?, ?)", rows)
        self.damaged -= values.keys()

    def _sound(self, key: str, value: Any, digest: Any) -> bool:
        """Whether a value may be given out."""
        whole = isinstance(value, bytes)
        if whole and digest is None:
            self.unchecked.add(key)
        elif not whole or digest_of(key, value) != digest:
            self.damaged.add(key)
            return False
        return True

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what is known of these keys, if anything is.

        Raises:
            RunError: the file cannot be written.
        """
        known = self.get(keys)
        if known:
            with self._opened("written") as connection, connection:
                connection.executemany("DELETE FROM kept WHERE key = ?", [(key,) for key in known])

    @contextmanager
    def _opened(self, done: str) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._check_locks()
            with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as connection:
                self._check_length(connection)
                yield connection
        except (OSError, sqlite3.Error) as error:
            if is_full(error):
                raise RunError(f"{self.path}: {FULL}") from error
            if "locked" in str(error):
                raise RunError(
                    f"{self.path} is held by another process ({error}). Wait for that process to "
                    "end, or name another store."
                ) from error
            raise RunError(
                f"{self.path} cannot be {done} as a store ({error}). Move it away, or name another."
            ) from error

    def _check_length(self, connection: sqlite3.Connection) -> None:
        """SQLite takes a last page that was cut short for an empty one."""
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size")
        )
        if self.path.stat().st_size < pages * size:
            raise sqlite3.DatabaseError("it is shorter than it says")

    def _check_locks(self) -> None:
        """SQLite would wait for a lock that is refused as for one that is held."""
        if self._locks:
            return
        try:
            with TemporaryFile(dir=self.path.parent) as beside:
                self._locks = can_lock(beside)
        except OSError:
            # Nothing can be written there, which SQLite says for itself.
            return
        if not self._locks:
            raise RunError(
                f"the file system of {self.path} refuses locks, without which a store would be "
                "damaged. Name one on a local disk: evidence=... of eval, replies=... of "
                "undo-iterate."
            )


def _columns(connection: sqlite3.Connection) -> set[str]:
    """Columns of the table; none where it is not there."""
    found = {str(row[1]) for row in connection.execute("PRAGMA table_info(kept)")}
    if found and not COLUMNS - {"digest"} <= found:
        raise sqlite3.DatabaseError("its table is another")
    return found
