"""Standard streams that cannot end the work that writes to them.

A reader that has left (``| head -1``), a terminal that is gone, a full disk behind ``> file`` or a
letter that the locale lacks: what is printed is lost or spelled otherwise, and the work goes on.
"""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Lasting(io.RawIOBase):
    """Bytes to a file descriptor, as far as it takes them.

    Attributes:
        lost: why something was not taken, the first time; None as long as all was.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: "Buffer", /) -> int:
        """Count all as written, whatever became of it."""
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                # A program that shares the terminal has made it non-blocking.
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = self.lost or error
                return memoryview(data).nbytes


@contextmanager
def lasting() -> Iterator[None]:
    """Put :class:`Lasting` streams in the place of standard output and error inside."""
    _open_the_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _lasting(before[0], 1), _lasting(before[1], 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def lost() -> OSError | None:
    """Why standard output did not take something; None where it did, or a reader has left."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.lost if isinstance(raw, Lasting) else None
    return None if isinstance(error, BrokenPipeError) else error


def _open_the_closed() -> None:
    """Give closed descriptors (``>&-``) to the null device, or the next file opened gets them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    try:
        descriptor = stream.fileno() if stream else descriptor
    except OSError:
        # A stream in memory, as others put in the place of the real one.
        assert stream is not None
        return stream
    raw = Lasting(descriptor)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream else "utf-8",
        # Strict would raise on a letter that the locale lacks.
        errors="backslashreplace",
        line_buffering=raw.isatty() or descriptor == 2,
    )
