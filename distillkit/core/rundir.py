"""A run directory: claimed by one configuration, by one process at a time, finished atomically.

``provenance.json`` is its record: whose it is, and the digest of every file that is made once and
read again. ``summary.json`` comes last, with the digests of what the run leaves behind. Both are
compared with the files before anything is opened for writing.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from distillkit.core.errors import RunError
from distillkit.core.files import writable, write_json, write_text
from distillkit.core.locking import lock
from distillkit.core.reading import damaged, read_json
from distillkit.core.sealed import check_digests, digests_of, read_sealed, write_sealed
from distillkit.core.shapes import Record, TrainSummary

RECORD, SUMMARY = "provenance.json", "summary.json"
FOLDERS = ("checkpoints", "student", "evaluation", "train")
"""Entries of a run directory that must be folders."""
FILES = (".json", ".jsonl", ".yaml", ".txt", ".png", ".safetensors")
"""Endings of those that must be files."""

WAY_OUT = (
    "Put back what was there, delete its run directory to start anew, or choose another name with "
    "name=..."
)

UNLOCKED = (
    "warning: the file system of {} refuses locks, so nothing keeps another process out. See to it "
    "that no other one works in this directory"
)


class RunDirectory:
    """Paths and state of ``outputs/<verb>/<name>/``.

    Args:
        path: the directory; created by :meth:`claim`, not before.
        shape: of its summary.
    """

    def __init__(self, path: Path, *, shape: Any = TrainSummary) -> None:
        self.path, self._shape = path, shape

    @property
    def checkpoints(self) -> Path:
        """Folder of ``step-000500/`` checkpoints."""
        return self.path / "checkpoints"

    @property
    def student(self) -> Path:
        """Folder of the trained student, for ``from_pretrained``."""
        return self.path / "student"

    @property
    def record(self) -> dict[str, Any] | None:
        """Whose directory it is, and what was made in it; None where nobody has claimed it.

        Raises:
            RunError: the record is damaged.
        """
        file = self.path / RECORD
        if not _there(file):
            return None
        old = "files" not in read_json(file, Record, way_out=WAY_OUT)
        return read_sealed(file, Record, old=old, way_out=WAY_OUT)

    @property
    def old(self) -> bool:
        """Whether an earlier version claimed it, which kept no digests."""
        return "files" not in (self.record or {})

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person must know who trusts its files."""
        if not self.old:
            return ()
        return (
            f"{self.path} was made by a version of distillkit that kept no digests, so whether its "
            "files are still what was written cannot be told",
        )

    @property
    def summary(self) -> dict[str, Any] | None:
        """Final numbers; None while the run is not done.

        Raises:
            RunError: the summary is damaged, or another run's.
        """
        file = self.path / SUMMARY
        if not _there(file):
            return None
        record = self.record
        old = "files" not in (record or {})
        found = read_sealed(file, self._shape, old=old, way_out=WAY_OUT)
        if record is None and "files" in found:
            raise RunError(f"{self.path / RECORD} is missing. {WAY_OUT}")
        if record is not None and found["fingerprint"] != record["fingerprint"]:
            raise damaged(file, "it is another run's", way_out=WAY_OUT)
        return found

    def check(self, fingerprint: str) -> None:
        """Refuse a directory that another configuration owns, or that is damaged; touch nothing.

        Raises:
            RunError: the directory holds something else than was written by this run.
        """
        record = self.record
        if record is None:
            if self.path.exists() and not self._is_free():
                raise RunError(
                    f"{self.path} exists and is not a run directory. Choose another name with "
                    "name=... or another place with output=..."
                )
            return
        if record["fingerprint"] != fingerprint:
            raise RunError(
                f"the run directory {self.path} holds another configuration (fingerprint "
                f"{record['fingerprint']}, this one is {fingerprint}). Choose another name with "
                "name=..., or delete the directory."
            )
        self.check_made()

    def check_made(self) -> None:
        """Compare all that was made once with the record.

        Raises:
            RunError: a file has changed or is missing, or there is a folder in its place.
        """
        made = (self.record or {}).get("files", {})
        check_digests(self.path, made, names=made, way_out=WAY_OUT)
        for entry in self.path.iterdir():
            if entry.suffix in FILES and not entry.is_file():
                raise damaged(entry, "it is no ordinary file", way_out=WAY_OUT)
            if entry.name in FOLDERS and not entry.is_dir():
                raise damaged(entry, "it is no folder", way_out=WAY_OUT)

    def check_left(self, *names: str) -> None:
        """Compare what the run left behind with its summary: a folder must hold nothing else.

        Raises:
            RunError: a file has changed, is missing, or is new.
        """
        summary = self.summary or {}
        if "files" in summary:
            check_digests(self.path, summary["files"], names=names, way_out=WAY_OUT)

    def _is_free(self) -> bool:
        return self.path.is_dir() and all(
            entry.name in (".lock", "run.yaml", "overrides.yaml") or entry.suffix == ".partial"
            for entry in self.path.iterdir()
        )

    def holds(self, name: str) -> bool:
        """Whether a file was made and entered; one that a killed process did not enter was not."""
        record = self.record or {}
        return name in record["files"] if "files" in record else (self.path / name).is_file()

    def enter(self, *names: str) -> None:
        """Put the digests of files that were just made into the record."""
        record = self.record
        assert record is not None
        if "files" in record:
            record["files"] |= digests_of(self.path, names)
            write_sealed(self.path / RECORD, record)

    def kept(self, name: str, make: Callable[[], Any], *, shape: Any) -> Any:
        """The JSON file of this name, made on the first call.

        Raises:
            RunError: it is damaged.
        """
        file = self.path / name
        if not self.holds(name):
            write_json(file, make())
            self.enter(name)
        return read_json(file, shape, way_out=WAY_OUT)

    def finish(self, summary: Mapping[str, Any], *, leaves: Sequence[str]) -> None:
        """Write the final numbers, last of all: their presence is 'done'.

        Args:
            summary: the numbers, with the run's fingerprint.
            leaves: files and folders whose digests are kept; those that are not there are none.
        """
        there = [name for name in leaves if (self.path / name).exists()]
        write_sealed(self.path / SUMMARY, {**summary, "files": digests_of(self.path, there)})

    @contextmanager
    def claim(
        self, *, fingerprint: str, config: str, overrides: list[str], provenance: dict[str, Any]
    ) -> Iterator[tuple[str, ...]]:
        """Hold the directory for one process and one configuration.

        Yields:
            What the user should be told.

        Raises:
            RunError: it cannot be written, another configuration lives there, another process is
                at work in it, or a file of it is damaged.
        """
        made = not (self.path / ".lock").exists()
        with self._opened() as file:
            try:
                held = lock(file, wait=False)
            except BlockingIOError as error:
                raise RunError(
                    f"another process is at work in {self.path}. Wait for it, or choose another "
                    "name with name=..."
                ) from error
            try:
                self.check(fingerprint)
            except RunError:
                # A directory that is refused stays as it was.
                if made:
                    (self.path / ".lock").unlink()
                raise
            if self.record is None:
                self._begin(fingerprint, config, overrides, provenance)
            with writable(WAY_OUT):
                yield self.notes if held else (*self.notes, UNLOCKED.format(self.path))

    def _opened(self) -> IO[str]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return (self.path / ".lock").open("a")
        except OSError as error:
            raise RunError(
                f"the run directory {self.path} cannot be written ({error.strerror}). "
                "Choose another place with output=..."
            ) from error

    def _begin(
        self, fingerprint: str, config: str, overrides: list[str], provenance: dict[str, Any]
    ) -> None:
        write_text(self.path / "run.yaml", config)
        write_text(self.path / "overrides.yaml", json.dumps(overrides, indent=1) + "\n")
        made = digests_of(self.path, ("run.yaml", "overrides.yaml"))
        write_sealed(self.path / RECORD, {"fingerprint": fingerprint, **provenance, "files": made})


def _there(file: Path) -> bool:
    """Whether a name is taken, be it by a folder or by a link to nowhere."""
    return file.is_symlink() or file.exists()
