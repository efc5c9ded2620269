"""Makes what is not yet known, batch by batch, and keeps each batch at once."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field

from distillkit.core.store import Store

Progress = Callable[[str, int, int], None]
"""Told what is being made, how much of it is done, and of how much."""


@dataclass(slots=True, eq=False)
class Keeper:
    """Items by key, from the store or made."""

    store: Store
    """Where they are kept; other processes may share it."""
    _: KW_ONLY
    batch_size: int
    """Items made at a time, and lost at most when the process dies."""
    poll: Callable[[], None]
    """Called between batches; may raise to stop."""
    progress: Progress
    """Called after each batch."""
    say: Callable[[str], None]
    """Takes a line for the person who waits."""
    made: Counter[str] = field(default_factory=Counter, init=False)
    """Items computed here, by kind."""
    reused: Counter[str] = field(default_factory=Counter, init=False)
    """Items found in the store, by kind."""

    def get(
        self,
        kind: str,
        keys: Sequence[str],
        *,
        lengths: Sequence[int],
        make: Callable[[Sequence[int]], list[bytes]],
    ) -> list[bytes]:
        """The value of each key, in order.

        Args:
            kind: what the items are, for the counters and the progress.
            keys: may repeat.
            lengths: of each item; those of like length are made together.
            make: positions of some keys to their values.
        """
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        kept = self.store.get(first)
        self.store.tell(kind, keys, self.say)
        missing = sorted(
            (first[key] for key in first.keys() - kept.keys()), key=lambda row: (lengths[row], row)
        )
        self.reused[kind] += len(kept)
        for start in range(0, len(missing), self.batch_size):
            self.poll()
            part = missing[start : start + self.batch_size]
            fresh = {keys[row]: value for row, value in zip(part, make(part), strict=True)}
            self.store.put(fresh)
            kept |= fresh
            self.made[kind] += len(fresh)
            self.progress(kind, start + len(part), len(missing))
        return [kept[key] for key in keys]
