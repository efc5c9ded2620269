"""A folder with a file for each split, by the names that people give them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distillkit.core.errors import DataError
from distillkit.core.types import Split
from distillkit.datasets.formats import is_rows, stem

NAMES = {
    Split.train: ("train", "training"),
    Split.validation: ("validation", "valid", "val", "dev", "eval", "evaluation"),
    Split.test: ("test", "testing"),
}
"""Names of a split's file, without its endings."""

SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
"""One file of several, as ``datasets`` writes them."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds."""

    splits: Mapping[Split, Sequence[Path]]
    """The files of each split that is there, in order."""
    others: Sequence[str]
    """Names of what is in the folder beside them, hidden files left out."""


def placed(path: str) -> Path:
    """Where ``dataset.path`` points to, with ``~`` filled in; it need not be there.

    Raises:
        DataError: no file can have that name, or it may not be looked at.
    """
    try:
        place = Path(path).expanduser()
        place.exists()
    except (OSError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(
            f"dataset.path={path[:200]} cannot be looked up ({reason.rstrip('.')}); give another "
            "file or folder."
        ) from error
    return place


def look_into(folder: Path, *, name: str) -> Found:
    """Find the files of each split.

    Args:
        folder: which is there.
        name: as the user types it, ``dataset.path=...``.

    Raises:
        DataError: a split has two files, or lacks a part of one.
    """
    splits: dict[Split, list[Path]] = {}
    others = []
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}); give another.") from error
    for file in there:
        split = _split_of(file)
        if split is not None:
            splits.setdefault(split, []).append(file)
        elif not file.name.startswith("."):
            others.append(f"{file.name}/" if file.is_dir() else file.name)
    for split, files in splits.items():
        _check_whole(name, split, files)
    return Found(splits, others)


def _split_of(file: Path) -> Split | None:
    if not is_rows(file) or not file.is_file():
        return None
    called = stem(file).lower()
    shard = SHARD.fullmatch(called)
    called = shard["name"] if shard else called
    return next((split for split, names in NAMES.items() if called in names), None)


def _check_whole(name: str, split: Split, files: Sequence[Path]) -> None:
    """Refuse two files for one split, unless they are all parts of one."""
    if len(files) == 1 and not SHARD.fullmatch(stem(files[0])):
        return
    shards = [SHARD.fullmatch(stem(file).lower()) for file in files]
    kinds = {
        (file.suffixes[-1], shard and (shard["name"], shard["count"]))
        for file, shard in zip(files, shards, strict=True)
    }
    if len(kinds) > 1 or None in shards:
        named = " and ".join(file.name for file in files[:3])
        raise DataError(
            f"{name} has {named} for the {split} split; leave one of them, or give a file as "
            "dataset.path."
        )
    expected = int(shards[0]["count"]) if shards[0] else 0
    if [int(shard["number"]) for shard in shards if shard] != list(range(expected)):
        raise DataError(
            f"{name} has {len(files)} of {expected} parts of the {split} split, such as "
            f"{files[0].name}; copy all of them."
        )
