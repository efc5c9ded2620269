"""One root seed, named children.

Every random draw is keyed by (root seed, purpose, position) instead of being taken from a
running stream. A run that stops and resumes therefore draws the same numbers as one that did
not, and no generator state needs to be saved.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def child_seed(root: int, *names: str | int) -> int:
    """A seed below 2**63 that depends on the root and on every name, and on nothing else."""
    text = ":".join(str(part) for part in (root, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def child_random(root: int, *names: str | int) -> random.Random:
    """A Python generator seeded by :func:`child_seed`."""
    return random.Random(child_seed(root, *names))


@dataclass(frozen=True)
class Share(Sequence[int]):
    """A seed for some rows of a larger call, each of which draws what it would draw in the whole.

    To those who know nothing of the whole it is one seed for each row.
    """

    seed: int
    """Of the whole call."""
    rows: Sequence[int]
    """Numbers of the rows in it."""
    total: int
    """How many it has."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return child_seed(self.seed, self.rows[place])
