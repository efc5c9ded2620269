"""Where a step's seconds go, by phase."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Adds up wall-clock seconds by phase.

    Args:
        wait: called at both ends of a phase; on an accelerator, waits for work under way.
    """

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self._wait = wait
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the block towards a phase; phases are not nested."""
        self._wait()
        start = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            spent = time.perf_counter() - start
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent
