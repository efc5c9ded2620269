"""Which of the student's answers a teacher is shown: errors of every kind, and some right ones."""

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import chain, zip_longest

from distillkit.teachers.base import Record


def choose(
    records: Sequence[Record],
    faults: Sequence[Hashable | None],
    *,
    wrong: int,
    right: int,
    draw: random.Random,
) -> tuple[Record, ...]:
    """Some records, wrong ones first.

    Wrong ones are drawn from the kinds of fault in turn, the commonest first, so that a rare kind
    is shown wherever there is room for it.

    Args:
        records: all that there are.
        faults: kind of each record's error; None where it is right.
        wrong: how many wrong ones.
        right: how many right ones.
        draw: of this one request.
    """
    kinds: dict[Hashable, list[Record]] = defaultdict(list)
    for record, fault in zip(records, faults, strict=True):
        kinds[fault].append(record)
    correct = kinds.pop(None, [])
    # Ties in order of appearance, which does not depend on hashes.
    ordered = sorted(kinds.values(), key=len, reverse=True)
    drawn = [draw.sample(kind, min(wrong, len(kind))) for kind in ordered]
    turns = chain.from_iterable(zip_longest(*drawn))
    chosen = [record for record in turns if record is not None][:wrong]
    return (*chosen, *draw.sample(correct, min(right, len(correct))))
