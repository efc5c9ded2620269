"""What a person sees while a run goes on: a live view on a terminal, plain lines in a log."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from distillkit.core.types import Update

SECONDS_BETWEEN_LINES = 10


class Display:
    """Progress of one run, on the console and in log.txt.

    Args:
        console: where to show.
        steps: updates in the run.
        log: file that keeps the plain lines; none where another process keeps it.
    """

    def __init__(self, console: Console, *, steps: int, log: Path | None) -> None:
        self.console, self._steps = console, steps
        self._file = None if log is None else log.open("a", encoding="utf-8")
        self._bar: Progress | None = None
        self._task: Any = None
        self._started = self._last_line = time.monotonic()
        self._tokens = self._student_share = 0.0
        self._first = 0
        self._score = ""

    @contextmanager
    def running(self, *, done: int) -> Iterator[None]:
        """Show a live bar inside, where the console is a terminal."""
        self._started, self._first = time.monotonic(), done
        try:
            if self.console.is_interactive:
                columns = (
                    BarColumn(),
                    TextColumn("{task.description}", markup=False),
                    TimeRemainingColumn(),
                )
                with Progress(*columns, console=self.console) as self._bar:
                    self._task = self._bar.add_task("", total=self._steps, completed=done)
                    yield
            else:
                yield
        finally:
            self._bar = None

    def say(self, text: str) -> None:
        """One line to the console and the log."""
        (self._bar.console if self._bar else self.console).print(text, soft_wrap=True)
        self._keep(text)

    def validated(self, numbers: Mapping[str, float]) -> None:
        """The newest validation, shown from now on."""
        self._score = "  ".join(f"{name} {value:.3f}" for name, value in numbers.items())
        self.say(f"  validation  {self._score}")

    def update(self, update: Update) -> dict[str, float]:
        """Show one step; returns its timing, which has no place in metrics.jsonl."""
        now = time.monotonic()
        done = update.step - self._first
        self._tokens += update.metrics["tokens"]
        self._student_share += update.metrics["student_share"]
        seconds = now - self._started
        rate, left = self._tokens / seconds, seconds / done * (self._steps - update.step)
        line = (
            f"step {update.step}/{self._steps}  loss {update.metrics['loss']:.4f}  "
            f"{rate:.0f} tokens/s  student wrote {self._student_share / done:.0%}"
        )
        if self._bar:
            self._bar.update(
                self._task, completed=update.step, description=f"{line}  {self._score}"
            )
        if now - self._last_line >= SECONDS_BETWEEN_LINES or update.step == self._steps:
            self._last_line = now
            plain = f"{line}  {left:.0f} s left"
            self._keep(plain)
            if not self._bar:
                self.console.print(plain, soft_wrap=True)
        phases = {f"time/{phase}": spent for phase, spent in update.seconds.items()}
        return {"time/tokens_per_second": rate, "time/seconds": seconds, **phases}

    def seconds(self) -> float:
        """Seconds since the loop began here."""
        return time.monotonic() - self._started

    def close(self) -> None:
        """Let go of the log."""
        if self._file is not None:
            self._file.close()

    def _keep(self, text: str) -> None:
        if self._file is not None:
            self._file.write(f"{time.strftime('%H:%M:%S')} {text}\n")
            self._file.flush()
