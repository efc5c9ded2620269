"""The rows of a cache: looked up by what was asked and answered, and read as slices of open files.

Whatever is wrong with a file is found by :func:`check_files`, before a row is given out.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from distillkit.core.reading import damaged, read_with
from distillkit.core.sealed import check_digests
from distillkit.core.store import Store
from distillkit.opinions.cache_layout import (
    HEAD,
    INDEX,
    SHARDS,
    WAY_OUT,
    CacheManifest,
    shard_name,
)


def check_files(path: Path, manifest: CacheManifest) -> None:
    """Compare all files of a cache with what its manifest says of them.

    Raises:
        RunError: one is missing, new, or not what was written.
    """
    names = [SHARDS, INDEX, *([HEAD] if manifest["head"] else [])]
    check_digests(path, manifest.get("files", {}), names=names, way_out=WAY_OUT)


class Rows:
    """The shards of a cache whose files were checked.

    Args:
        path: the cache.

    Attributes:
        bytes: read so far.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._index = path, Store(path / INDEX)
        self._shard = lru_cache(maxsize=None)(self._opened)
        self._known: dict[str, list[int]] = {}
        self.bytes = 0

    def _opened(self, number: int) -> Any:
        file = self._path / shard_name(number)
        return read_with(lambda found: safe_open(found, "pt"), file, way_out=WAY_OUT)

    def preload(self, keys: Sequence[str]) -> None:
        """Look many keys up at once.

        Raises:
            RunError: an entry is not what was kept.
        """
        found = self._index.get([key for key in keys if key not in self._known])
        if self._index.damaged:
            raise damaged(self._path / INDEX, "an entry is not what was kept", way_out=WAY_OUT)
        self._known |= {key: json.loads(value) for key, value in found.items()}

    def entry(self, key: str) -> list[int] | None:
        """What the index has of a key."""
        if key not in self._known:
            self.preload([key])
        return self._known.get(key)

    def columns(self, place: Sequence[int]) -> dict[str, Tensor]:
        """All that is kept of a row's positions, by name; where it lies begins ``place``."""
        number, first, length = place[:3]
        shard = self._shard(number)
        found = {name: shard.get_slice(name)[first : first + length] for name in shard.keys()}  # noqa: SIM118
        self.bytes += sum(each.nbytes for each in found.values())
        return found
