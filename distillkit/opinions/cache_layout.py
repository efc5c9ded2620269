"""How opinions lie on disk: shards of safetensors, an index of texts, and a manifest.

A row is a text that was read: its positions lie one after the other in a shard, so that any row is
a slice. The index knows rows by what was asked and answered, and so by content alone. The manifest
is the cache's ``summary.json``: it comes last, with the SHA-256 of every file.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any, NotRequired

import torch
from typing_extensions import TypedDict

from distillkit.core.errors import RunError
from distillkit.core.rundir import RunDirectory
from distillkit.core.spec import SPECS, name_of
from distillkit.core.store import key_of
from distillkit.core.types import Example
from distillkit.supports.base import Support
from distillkit.supports.sampled import Sampled

LAYOUT = 1
"""Raised whenever the meaning of what lies there changes."""
INDEX, HEAD, SHARDS = "index.sqlite", "head.safetensors", "shards"
WAY_OUT = "Put back what was there, or delete the folder and make the cache again."


class Kept(StrEnum):
    """Floating type of what is kept; what is read is fp32 again."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class CacheManifest(TypedDict):
    """summary.json of a cache: what is inside, and where it came from."""

    name: str
    fingerprint: str
    layout: int
    teacher: dict[str, Any]
    engine: str
    precision: str
    support: dict[str, Any]
    kept: str
    temperature: float
    seed: int
    tokenizer: str
    template: str
    ids: dict[str, Any]
    ends: dict[str, Any]
    context: int
    dataset: dict[str, Any]
    author: str
    sampling: dict[str, Any] | None
    head: dict[str, Any] | None
    rows: int
    positions: int
    bytes: int
    costs: dict[str, float]
    seconds: float
    files: NotRequired[dict[str, str]]


def manifest_of(path: Path) -> CacheManifest:
    """What a finished cache says of itself.

    Raises:
        RunError: there is none, it is not finished, or it is not what was written.
    """
    if not path.is_dir():
        raise RunError(
            f"{path} is no folder. Give teacher.path=... a cache, as distillkit cache makes it."
        )
    found = RunDirectory(path, shape=CacheManifest).summary
    if found is None:
        raise RunError(
            f"{path} holds no finished cache. Type the distillkit cache command that makes it "
            "again: it goes on from what is there."
        )
    if found["layout"] != LAYOUT:
        raise RunError(
            f"{path} is a cache of layout {found['layout']}, and this version reads {LAYOUT}. Make "
            "it again."
        )
    return found  # type: ignore[return-value]


def told_support(support: Support) -> dict[str, Any]:
    """A support as a manifest has it."""
    return {"name": name_of(support), **asdict(support)}


def support_of(manifest: CacheManifest) -> Support:
    """The support of what is inside."""
    fields = dict(manifest["support"])
    found = SPECS[f"support/{fields.pop('name')}"](**fields)
    assert isinstance(found, Support)
    return found


def told_by(path: Path) -> list[Support]:
    """What a cache can tell; the text's own token is kept beside whatever else is.

    Raises:
        RunError: as :func:`manifest_of`.
    """
    support = support_of(manifest_of(path))
    return [support] if support.dense or isinstance(support, Sampled) else [support, Sampled()]


def ids_type(vocabulary: int) -> torch.dtype:
    """The smallest type of ids below a number."""
    return torch.uint16 if vocabulary <= 1 << 16 else torch.int32


def prompt_key(example: Example) -> str:
    """Of what a teacher is asked, whatever its reference."""
    return key_of("prompt", *_asked(example))


def row_key(example: Example, tokens: Sequence[int]) -> str:
    """Of a text that was read."""
    written = hashlib.sha256(b"".join(each.to_bytes(4, "little") for each in tokens)).hexdigest()
    return key_of("row", *_asked(example), written)


def text_key(example: Example) -> str:
    """Of a text that the teacher wrote."""
    return key_of("text", example.id, *_asked(example))


def _asked(example: Example) -> list[Any]:
    turns = [[turn.role, turn.content, turn.input] for turn in example.prompt]
    return [turns, example.opening]


def shard_name(number: int) -> str:
    """Of a shard, from 0 on, in the folder of the cache."""
    return f"{SHARDS}/{number:05d}.safetensors"
