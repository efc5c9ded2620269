"""Locks between processes, where the file system has them."""

import errno
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
"""What a file system says of a lock that another process holds; NFS has words of its own."""


def lock(file: IO[Any], *, wait: bool) -> bool:
    """Hold an open file until it is closed.

    Args:
        file: opened for writing.
        wait: for another process to let go.

    Returns:
        False where the file system refuses locks, as NFS and Lustre may: then nobody holds it.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is False.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in HELD:
            raise BlockingIOError(error.errno, error.strerror) from error
        return False
    return True


@contextmanager
def one_at_a_time(file: Path, *, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process is in here, as when two cells of a sweep make the same thing.

    Args:
        file: to be locked; made if it is not there.
        what: is made, for the warning where the file system refuses locks.
        say: takes the warning.
    """
    with file.open("a") as held:
        if not lock(held, wait=True):
            say(
                f"warning: the file system of {file.parent} refuses locks, so nothing keeps "
                f"another run from making {what} at the same time"
            )
        yield


def can_lock(file: IO[Any]) -> bool:
    """Whether the file system of an open file grants locks of the kind that SQLite takes."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    return True
