"""Files of JSON lines that grow with a run, and what a checkpoint knows of them."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.core.reading import damaged, read_bytes


class Journal:
    """A file of JSON lines that can be cut back to an earlier length.

    Args:
        path: opened for appending; created if absent.
        keep: bytes to keep of what is there, at most its length; all if None.
    """

    def __init__(self, path: Path, *, keep: int | None = None) -> None:
        self._file = path.open("ab")
        length = self._file.seek(0, os.SEEK_END)
        if keep is not None:
            assert keep <= length
            self._file.truncate(keep)
            self._file.seek(0, os.SEEK_END)
        self._digest = hashlib.sha256(path.read_bytes())

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line and hand it to the operating system."""
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._digest.update(line)

    def tell(self) -> int:
        """Length in bytes."""
        return self._file.tell()

    def digest(self) -> str:
        """SHA-256 of all that is in it, 64 hex digits."""
        return self._digest.copy().hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def kept_part(path: Path, length: int, *, digest: str | None, way_out: str) -> bytes:
    """The part of a journal that a checkpoint goes on from.

    Args:
        path: of the journal.
        length: in bytes.
        digest: of that part; None where an earlier version recorded none.
        way_out: what the user can do.

    Raises:
        RunError: so much is not there, or it has changed since.
    """
    content = read_bytes(path, way_out=way_out) if length or path.exists() else b""
    if not 0 <= length <= len(content):
        lost = f"it has {len(content)} bytes, {length - len(content)} fewer than were written"
        raise damaged(path, lost, way_out=way_out)
    part = content[:length]
    if digest is not None and hashlib.sha256(part).hexdigest() != digest:
        raise damaged(path, "what the checkpoint goes on from has changed", way_out=way_out)
    return part
