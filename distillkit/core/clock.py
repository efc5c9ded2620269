"""Where a step's seconds go, by phase."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Adds up wall-clock seconds by phase."""

    wait: Callable[[], None] = lambda: None
    """Called at both ends of a phase; on an accelerator, waits for work under way."""
    seconds: dict[str, float] = field(default_factory=dict, init=False)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the block towards a phase; phases are not nested."""
        self.wait()
        start = time.perf_counter()
        try:
            yield
        finally:
            self.wait()
            spent = time.perf_counter() - start
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent
