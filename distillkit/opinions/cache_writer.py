"""Writes a cache: rows are gathered, and sealed a shard at a time."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from distillkit.core.files import new_file, sweep
from distillkit.core.rundir import RunDirectory
from distillkit.core.store import Store
from distillkit.core.types import Rollout
from distillkit.opinions.cache_layout import (
    INDEX,
    SHARDS,
    prompt_key,
    row_key,
    shard_name,
    text_key,
)

Columns = Mapping[str, Tensor]
"""What is kept of a row's positions, by name: tensors [T, ...]."""

MOST_ROWS = 1 << 16
"""Of a shard: its part of the index is in its header, which is read as a whole."""
MINUTES = 5.0
"""A shard is sealed after so many, however small, so that no more than these are lost."""


@dataclass(frozen=True, slots=True)
class Written:
    """A row that waits for its shard."""

    rollout: Rollout
    prompt_tokens: int
    columns: Columns

    def entries(self, shard: int, first: int, *, own: bool) -> dict[str, list[int]]:
        """What the index holds of it."""
        example, response = self.rollout.example, self.rollout.response
        place = [shard, first, len(response.tokens)]
        entries = {
            prompt_key(example): [self.prompt_tokens],
            row_key(example, response.tokens): place,
        }
        if own:
            entries[text_key(example)] = [*place, int(response.truncated)]
        return entries


class CacheWriter:
    """Rows into shards of about a size; on return of :meth:`seal` they outlive the process.

    A shard holds its own part of the index, so that a process that dies between the two loses
    neither.

    Args:
        directory: of the cache, which this process holds.
        shard_mb: mebibytes of a shard.
        own: whether the texts are the teacher's own.
    """

    def __init__(self, directory: RunDirectory, *, shard_mb: int, own: bool) -> None:
        self._directory, self._limit, self._own = directory, shard_mb << 20, own
        self.index = Store(directory.path / INDEX)
        (directory.path / SHARDS).mkdir(exist_ok=True)
        # Who reads the cache refuses a folder that holds more than the manifest names.
        sweep(directory.path / SHARDS)
        self._waiting: list[Written] = []
        self._size, self._begun = 0, time.monotonic()
        self._known: set[str] = set()
        self._shards = self._sealed()

    def _sealed(self) -> int:
        """Shards of processes before this one; what they say of themselves is in the index."""
        number = 0
        while self._directory.holds(shard_name(number)):
            with safe_open(self._directory.path / shard_name(number), "pt") as shard:
                self._enter(json.loads(shard.metadata()["index"]))
            number += 1
        return number

    def _enter(self, entries: Mapping[str, list[int]]) -> None:
        self.index.put({key: json.dumps(value).encode() for key, value in entries.items()})
        self._known |= entries.keys()

    def holds(self, rollout: Rollout) -> bool:
        """Whether a row is sealed, or waits to be."""
        key = row_key(rollout.example, rollout.response.tokens)
        own = not self._own or text_key(rollout.example) in self._known
        return own and key in self._known

    def add(self, row: Written) -> None:
        """Take a row; seal the shard that it fills."""
        self._waiting.append(row)
        self._known |= row.entries(0, 0, own=self._own).keys()
        self._size += sum(each.nbytes for each in row.columns.values())
        full = self._size >= self._limit or len(self._waiting) >= MOST_ROWS
        if full or time.monotonic() - self._begun > 60 * MINUTES:
            self.seal()

    def seal(self) -> None:
        """Write down all rows that wait.

        Raises:
            OSError: they cannot be written.
        """
        self._begun = time.monotonic()
        if not self._waiting:
            return
        entries: dict[str, list[int]] = {}
        first = 0
        for row in self._waiting:
            entries |= row.entries(self._shards, first, own=self._own)
            first += len(row.rollout.response.tokens)
        columns = {
            name: torch.cat([row.columns[name] for row in self._waiting])
            for name in self._waiting[0].columns
        }
        name = shard_name(self._shards)
        with new_file(self._directory.path / name) as file:
            save_file(columns, file, metadata={"index": json.dumps(entries)})
        self._directory.enter(name)
        self._enter(entries)
        self._shards += 1
        self._waiting, self._size = [], 0

    @property
    def files(self) -> list[str]:
        """Names of all shards."""
        return [shard_name(number) for number in range(self._shards)]

    @property
    def bytes(self) -> int:
        """Of all shards."""
        return sum((Path(self._directory.path) / name).stat().st_size for name in self.files)
