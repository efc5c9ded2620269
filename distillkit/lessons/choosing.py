"""Which of the student's answers a teacher is shown: errors in proportion, and some right ones."""

import random
from collections.abc import Sequence

from distillkit.lessons.base import ValidationRecord


def choose(
    records: Sequence[ValidationRecord],
    faults: Sequence[str | None],
    *,
    wrong: int,
    right: int,
    draw: random.Random,
) -> tuple[ValidationRecord, ...]:
    """Some records, wrong ones first.

    Wrong ones are a systematic sample of all, ordered by kind of fault: every kind comes up as
    often as it occurs, and no sample misses a common kind by chance.

    Args:
        records: all that there are.
        faults: kind of each record's error; None where it is right.
        wrong: how many wrong ones.
        right: how many right ones.
        draw: of this one request.
    """
    pairs = list(zip(records, faults, strict=True))
    draw.shuffle(pairs)
    correct = [record for record, fault in pairs if fault is None]
    failed = sorted((pair for pair in pairs if pair[1] is not None), key=lambda pair: pair[1] or "")
    count = min(wrong, len(failed))
    start = draw.random()
    chosen = [failed[int((start + place) * len(failed) / count)][0] for place in range(count)]
    return (*chosen, *correct[:right])
