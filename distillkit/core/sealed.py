"""JSON files that notice when a word of them changes, and digests of files that cannot say it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distillkit.core.files import write_json
from distillkit.core.reading import damaged, fitting, read_bytes, read_json

SEAL = "seal"
"""Field of a sealed object: the SHA-256 of all its others."""


def write_sealed(file: Path, value: Mapping[str, Any]) -> None:
    """Write an object with its seal, atomically."""
    write_json(file, sealed(value))


def read_sealed(file: Path, shape: Any, *, old: bool, way_out: str) -> dict[str, Any]:
    """The object of a file written by :func:`write_sealed`, without its seal.

    Args:
        file: what to read.
        shape: the type that the object must have.
        old: whether it may lack a seal, as files of earlier versions do.
        way_out: what the user can do.

    Raises:
        RunError: it cannot be read, has another shape, or is not what was written.
    """
    value = read_json(file, dict[str, Any], way_out=way_out)
    try:
        return unsealed(value, shape, old=old)
    except (ValueError, RecursionError) as error:
        raise damaged(file, str(error), way_out=way_out) from error


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object as JSON reads it back, with its seal."""
    plain = json.loads(json.dumps({key: value[key] for key in value if key != SEAL}))
    return {**plain, SEAL: _seal(plain)}


def unsealed(value: dict[str, Any], shape: Any, *, old: bool) -> dict[str, Any]:
    """The object without its seal.

    Raises:
        ValueError: the seal is missing or broken, or the shape is another.
    """
    plain = {key: value[key] for key in value if key != SEAL}
    if SEAL in value and value[SEAL] != _seal(plain):
        raise ValueError("it has changed since it was written")
    fitting(plain, shape)
    if SEAL not in value and not old:
        raise ValueError("it has no seal")
    return plain


def _seal(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(file: Path, *, way_out: str = "") -> str:
    """SHA-256 of an ordinary file, 64 hex digits.

    Raises:
        RunError: it is missing, unreadable, or no ordinary file.
    """
    if not file.is_file():
        read_bytes(file, way_out=way_out)
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise damaged(file, str(error), way_out=way_out) from error


def digests_of(folder: Path, names: Iterable[str], *, way_out: str = "") -> dict[str, str]:
    """Digests by relative path: of files, and of all that lies in folders."""
    return {name: digest_of(folder / name, way_out=way_out) for name in _files(folder, names)}


def check_digests(
    folder: Path, recorded: Mapping[str, str], *, names: Iterable[str], way_out: str
) -> None:
    """Compare files with what is recorded of them.

    Args:
        folder: what the paths are relative to.
        recorded: from :func:`digests_of`.
        names: files and folders to compare; nothing else may lie in those folders.
        way_out: what the user can do.

    Raises:
        RunError: a file is missing, new, or has changed since it was written.
    """
    names = list(names)
    inside = tuple(f"{name}/" for name in names)
    expected = {name for name in recorded if name in names or name.startswith(inside)}
    found = set(_files(folder, names))
    for name in sorted(expected | found):
        if name not in found:
            raise damaged(folder, f"{name} is missing", way_out=way_out)
        if name not in expected:
            raise damaged(folder, f"{name} was not there when it was written", way_out=way_out)
        if digest_of(folder / name, way_out=way_out) != recorded[name]:
            raise damaged(folder, f"{name} has changed since it was written", way_out=way_out)


def _files(folder: Path, names: Iterable[str]) -> list[str]:
    """Relative paths of everything but folders, links to nowhere too."""
    found = []
    for name in names:
        place = folder / name
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        found += [
            file.relative_to(folder).as_posix()
            for file in inside
            if file.is_symlink() or (file.exists() and not file.is_dir())
        ]
    return found
