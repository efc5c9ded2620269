"""Locks between processes, where the file system has them."""

import errno
import fcntl
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


def can_lock(file: IO[Any]) -> bool:
    """Whether the file system of an open file grants locks of the kind that SQLite takes."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    return True
