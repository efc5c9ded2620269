"""Files that are either whole or absent: written under a temporary name, then renamed."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distillkit.core.errors import RunError


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one object a line atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as csv atomically, with the keys of the first as head; None is an empty cell."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


@contextmanager
def writable(way_out: str) -> Iterator[None]:
    """What keeps a file from being written, as one sentence; a full disk has one of its own.

    Raises:
        RunError: a file must not be written, or there is a folder in its place.
    """
    try:
        yield
    except (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise RunError(
            f"{error.filename} cannot be written ({error.strerror}). {way_out}"
        ) from error


def made_folder(folder: Path, *, choose: str) -> Path:
    """The folder, made with its parents if it is not there.

    Args:
        folder: the folder.
        choose: the option by which the user chooses another place, as typed.

    Raises:
        RunError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the folder {folder} cannot be written ({error.strerror}). "
            f"Choose another place with {choose}"
        ) from error
    return folder


def second_name(file: Path, other: Path) -> None:
    """The same content under another name, without a copy where the file system can."""
    try:
        other.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, other)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it takes its name, replacing an older one, only if the block ends well."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)
    partial.replace(path)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write; it takes its name, replacing an older one, only if the block ends well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written; for the one process that writes there."""
    for left in folder.glob(".*.partial"):
        left.unlink()
