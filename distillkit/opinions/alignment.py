"""Two tokenisations of one text, cut where both have a boundary (arXiv:2503.20083, section 3).

Boundaries are byte offsets, so that a character whose bytes are several tokens on one side and one
on the other is a chunk like any other.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from distillkit.models.token_bytes import Bytes


class Chunk(NamedTuple):
    """Tokens of both sides that hold the same bytes, the shortest such run."""

    ours: range
    """Places in the first tokenisation."""
    theirs: range
    """Places in the second."""


def chunks(ours: Sequence[Bytes], theirs: Sequence[Bytes]) -> list[Chunk]:
    """The chunks of two tokenisations, in their order, as far as both hold the same bytes.

    Control tokens hold none: those between chunks are in none, and a chunk that has one inside is
    left out.

    Args:
        ours: bytes of each token.
        theirs: those of the other side.
    """
    common = _common(*(b"".join(each or b"" for each in side) for side in (ours, theirs)))
    left, right = (_ends(side, common) for side in (ours, theirs))
    cuts = sorted(left.keys() & right.keys())
    found = []
    for before, after in pairwise([0, *cuts]):
        places = [
            _inside(side, ends.get(before, -1) + 1, ends[after] + 1)
            for side, ends in ((ours, left), (theirs, right))
        ]
        if all(each is not None for each in places):
            found.append(Chunk(*(each for each in places if each is not None)))
    return found


def _common(left: bytes, right: bytes) -> int:
    """Bytes that two texts begin with alike."""
    shorter = min(len(left), len(right))
    if left[:shorter] == right[:shorter]:
        return shorter
    return next(n for n in range(shorter) if left[n] != right[n])


def _ends(side: Sequence[Bytes], limit: int) -> dict[int, int]:
    """The last token that ends at each byte offset from 1 to the limit."""
    found, end = {}, 0
    for place, token in enumerate(side):
        if token is None:
            continue
        end += len(token)
        if 0 < end <= limit:
            found[end] = place
    return found


def _inside(side: Sequence[Bytes], start: int, end: int) -> range | None:
    """Tokens of a chunk without the control tokens before it; None where one stands inside."""
    while side[start] is None:
        start += 1
    return None if None in side[start:end] else range(start, end)
