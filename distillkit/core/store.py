"""A durable file of answers to expensive questions: a process that dies loses none of them."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

from distillkit.core.errors import FULL, RunError, is_full

AT_ONCE = 500
"""Keys of one query; SQLite allows a few tens of thousands."""


def key_of(*parts: Any) -> str:
    """A key that depends on every part, which are JSON values, and on nothing else."""
    text = dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()


class Store:
    """Keys to values in an SQLite file, shared by processes of one machine.

    Args:
        path: the file; made with its folder on the first write.

    Raises:
        RunError: the file is no store, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            self.get([])

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What is known of these keys."""
        wanted = list(keys)
        found: dict[str, bytes] = {}
        if not self.path.exists():
            return found
        with self._opened("read") as connection:
            for start in range(0, len(wanted), AT_ONCE):
                part = wanted[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, value FROM kept WHERE key IN ({marks})"
                found.update(connection.execute(query, part))
        return found

    def put(self, values: Mapping[str, bytes]) -> None:
        """Keep values; on return they outlive the process. A key already there keeps its value.

        Raises:
            RunError: the file cannot be written.
        """
        with self._opened("written") as connection, connection:
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", values.items())

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
            # Another process that writes is waited for.
            with closing(sqlite3.connect(self.path, timeout=60)) as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB)"
                    " WITHOUT ROWID"
                )
                yield connection
        except (OSError, sqlite3.DatabaseError) as error:
            if is_full(error):
                raise RunError(f"{self.path}: {FULL}") from error
            raise RunError(
                f"{self.path} cannot be {done} as a store ({error}). Move it away, or name another."
            ) from error
