"""What a person sees of long work that is counted in items: a bar, or a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from distillkit.core.keeper import Keeper
from distillkit.core.store import Store

SECONDS_BETWEEN_LINES = 10


class Watch:
    """Progress on the console; what is said also goes into a log.

    Args:
        console: where to show.
        log: file that keeps what is said; its folder exists.
    """

    def __init__(self, console: Console, *, log: Path) -> None:
        self._console, self._log = console, log
        self._bar: Progress | None = None
        self._last_line = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show a live bar inside, where the console is a terminal."""
        if not self._console.is_interactive:
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        try:
            with Progress(*columns, console=self._console, transient=True) as self._bar:
                yield
        finally:
            self._bar = None

    def say(self, text: str) -> None:
        """One line to the console and the log."""
        (self._bar.console if self._bar else self._console).print(text, soft_wrap=True)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def keeper(self, store: Store, *, batch_size: int, poll: Callable[[], None]) -> Keeper:
        """A keeper whose work is shown here; ``poll`` may raise to stop it."""
        return Keeper(store, batch_size=batch_size, poll=poll, progress=self.progress, say=self.say)

    def progress(self, what: str, done: int, total: int) -> None:
        """So much of a piece of work is done."""
        if self._bar:
            for task in self._bar.tasks:
                if task.description != what:
                    self._bar.remove_task(task.id)
            tasks = self._bar.task_ids or [self._bar.add_task(what, total=total)]
            self._bar.update(tasks[0], completed=done, total=total)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.print(f"{what} {done}/{total}")
