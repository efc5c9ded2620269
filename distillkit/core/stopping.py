"""Signals that ask to stop: long work asks itself for them, so that it can save first.

Ctrl-C and SIGTERM; SIGHUP of a terminal that is lost; SIGUSR1, SIGUSR2 and SIGXCPU, by which
schedulers warn (``sbatch --signal=USR1@120``). One that is ignored from the start, as SIGHUP is
under ``nohup``, stays ignored.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from distillkit.core.errors import Interrupted

STOPS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""Signals that ask to save and stop, as far as the system has them."""

Handler = Callable[[int, FrameType | None], None]


class Stop:
    """Whether a stop was asked for, and by which signal.

    Args:
        heard: told of the first signal at once; must not raise.
    """

    def __init__(self, heard: Callable[[], None] = lambda: None) -> None:
        self.signal: int | None = None
        self._heard = heard

    def poll(self) -> None:
        """Raise where a stop was asked for.

        Raises:
            Interrupted: one of :data:`STOPS` arrived.
        """
        if self.signal is not None:
            raise Interrupted("interrupted; the same command goes on from here", signal=self.signal)

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """The handler: a second Ctrl-C is impatience and ends the work where it is."""
        if self.signal is None:
            self.signal = number
            self._heard()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt


@contextmanager
def stopping(heard: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Note signals inside. One that nothing inside has acted on is handed to the block around."""
    stop = Stop(heard)
    with _handled(stop.note) as before:
        yield stop
    around = next(iter(before.values()), None)
    if stop.signal is not None and isinstance(outer := getattr(around, "__self__", None), Stop):
        outer.note(stop.signal)


@contextmanager
def stoppable() -> Iterator[None]:
    """Signals end what has nothing to save, wherever it is, as :class:`Interrupted`."""

    def end(number: int, _: FrameType | None) -> None:
        raise Interrupted(
            "interrupted before there was anything new to save; the same command starts again",
            signal=number,
        )

    with _handled(end):
        yield


@contextmanager
def _handled(handler: Handler) -> Iterator[Mapping[int, object]]:
    """Handle :data:`STOPS` inside, save those that are ignored; yields the handlers before."""
    # Other threads than the main one may set none, and are never sent any.
    mine = STOPS if threading.current_thread() is threading.main_thread() else ()
    before = {
        number: signal.signal(number, handler)
        for number in mine
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield before
    finally:
        for number, found in before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if found is None else found)
