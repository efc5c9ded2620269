"""Makes what is not yet known, batch by batch, and keeps each batch at once."""

from collections import Counter
from collections.abc import Callable, Sequence

from distillkit.core.store import Store

Progress = Callable[[str, int, int], None]
"""Told what is being made, how much of it is done, and of how much."""


class Keeper:
    """Items by key, from the store or made.

    Args:
        store: where they are kept; other processes may share it.
        batch_size: items made at a time, and lost at most when the process dies.
        poll: called between batches; may raise to stop.
        progress: called after each batch.
        say: takes a line for the person who waits.

    Attributes:
        made: items computed here, by kind.
        reused: items found in the store, by kind.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        poll: Callable[[], None],
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.store, self.poll, self.progress, self.say = store, poll, progress, say
        self._batch_size = batch_size
        self.made: Counter[str] = Counter()
        self.reused: Counter[str] = Counter()

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
        for start in range(0, len(missing), self._batch_size):
            self.poll()
            part = missing[start : start + self._batch_size]
            fresh = {keys[row]: value for row, value in zip(part, make(part), strict=True)}
            self.store.put(fresh)
            kept |= fresh
            self.made[kind] += len(fresh)
            self.progress(kind, start + len(part), len(missing))
        return [kept[key] for key in keys]
