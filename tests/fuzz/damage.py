"""Damaged and foreign files in folders that verbs read: refused, or no other result."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import one_sentence
from .scenes import Scene

DEEP = 100_000

KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": lambda old, _: b"",
    "torn": lambda old, draw: old[: draw.randrange(max(1, len(old)))],
    "grown": lambda old, draw: old + draw.randbytes(7),
    "said twice": lambda old, _: old + old,
    "one bit": lambda old, draw: _one_bit(old, draw),
    "nulls": lambda old, _: bytes(len(old)),
    "not UTF-8": lambda old, _: b"\xff\xfe" + old,
    "{}": lambda old, _: b"{}\n",
    "[]": lambda old, _: b"[]\n",
    "null": lambda old, _: b"null\n",
    "a number": lambda old, _: b"3\n",
    "a text": lambda old, _: b'"x"\n',
    "deep": lambda old, _: b"[" * DEEP,
    "deep and closed": lambda old, _: b"[" * DEEP + b"]" * DEEP,
    "a large number": lambda old, _: b"9" * 5000,
    "another digit": lambda old, draw: _another_digit(old, draw),
    "a line less": lambda old, draw: _without_a_line(old, draw),
}
"""What may become of a file's bytes."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One file of a scene, and what is wrong with it.

    Attributes:
        file: below the scene's folder.
        kind: of :data:`KINDS`, ``gone``, ``a folder``, ``foreign`` or ``swapped``.
    """

    scene: Scene
    file: Path
    kind: str


def damages(
    found: Sequence[Scene], strangers: Sequence[Scene], count: int, *, seed: int
) -> Iterator[tuple[Damage, Callable[[Path], None]]]:
    """Damages with what does each to a copy of its scene's folder.

    Args:
        found: scenes to damage.
        strangers: the same scenes of other runs, whose files are put in place of the right ones.
        count: how many.
        seed: of all draws.
    """
    draw = random.Random(seed)
    others = {scene.name: scene.folder for scene in strangers}
    for _ in range(count):
        scene = draw.choice(found)
        files = [path for path in sorted(scene.folder.rglob("*")) if path.is_file()]
        # Weights are many bytes and few files; every kind of file gets its turn.
        suffix = draw.choice(sorted({path.suffix for path in files}))
        path = draw.choice([path for path in files if path.suffix == suffix])
        file = path.relative_to(scene.folder)
        kind = draw.choice([*KINDS, "gone", "a folder", "foreign", "foreign", "swapped", "one bit"])
        change = random.Random(draw.random())
        yield (
            Damage(scene, file, kind),
            lambda copy, file=file, kind=kind, scene=scene, change=change: _do(
                copy / file, kind, others[scene.name] / file, change
            ),
        )


def examine(damage: Damage, change: Callable[[Path], None], healthy: Any, place: Path) -> list[str]:
    """What is wrong with how the scene's command took the damage.

    Args:
        damage: what was done.
        change: does it to a copy.
        healthy: outcome without damage.
        place: where the copy goes; removed afterwards.
    """
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(damage.scene.folder, place)
    change(place)
    before = contents(place)
    ended = damage.scene.play(place)
    found = []
    said = ended.out + ended.err
    if "Traceback (most recent" in said:
        found.append("traceback")
    elif ended.code not in (0, 2):
        found.append(f"exit code {ended.code}")
    elif ended.code == 2:
        if not one_sentence(ended.err):
            found.append("not one sentence")
        if changed := differing(before, contents(place)):
            found.append(f"refused, but changed {changed[:4]}")
    elif damage.scene.outcome(ended) != healthy:
        found.append("accepted with another result")
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Files by path with their bytes, less locks, which are empty, and a sweep's own tables."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and "sweep" not in path.parts
    }


def differing(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Paths of the files that are not in both with the same bytes."""
    return [name for name in sorted(before | after) if before.get(name) != after.get(name)]


def _do(file: Path, kind: str, foreign: Path, draw: random.Random) -> None:
    if kind == "foreign":
        if foreign.is_file():
            shutil.copy(foreign, file)
        return
    if kind in ("gone", "a folder"):
        file.unlink()
        if kind == "a folder":
            file.mkdir()
        return
    if kind == "swapped" and file.suffix == ".sqlite":
        _swap(file, draw)
    elif kind == "swapped":
        file.write_bytes(b"".join(reversed(file.read_bytes().splitlines(keepends=True))))
    else:
        file.write_bytes(KINDS[kind](file.read_bytes(), draw))


def _swap(store: Path, draw: random.Random) -> None:
    """Give two keys of a store each other's values."""
    with closing(sqlite3.connect(store)) as connection, connection:
        rows = connection.execute("SELECT key, value FROM kept ORDER BY key").fetchall()
        left, right = draw.sample(rows, 2)
        for key, value in ((left[0], right[1]), (right[0], left[1])):
            connection.execute("UPDATE kept SET value = ? WHERE key = ?", (value, key))


def _one_bit(old: bytes, draw: random.Random) -> bytes:
    if not old:
        return b"\x01"
    place = draw.randrange(len(old))
    return old[:place] + bytes([old[place] ^ (1 << draw.randrange(8))]) + old[place + 1 :]


def _another_digit(old: bytes, draw: random.Random) -> bytes:
    places = [place for place, byte in enumerate(old) if byte in b"0123456789"]
    if not places:
        return _one_bit(old, draw)
    place = draw.choice(places)
    digit = draw.choice([each for each in b"0123456789" if each != old[place]])
    return old[:place] + bytes([digit]) + old[place + 1 :]


def _without_a_line(old: bytes, draw: random.Random) -> bytes:
    lines = old.splitlines(keepends=True)
    if lines:
        del lines[draw.randrange(len(lines))]
    return b"".join(lines)
