"""Errors that are the user's to mend: one sentence, exit code 2.

A message names the field as the user types it, the value given, and the way out.
"""

import errno
from functools import partial
from typing import Any


class DistillkitError(ValueError):
    """Base of everything the command line prints as one sentence."""


class ConfigError(DistillkitError):
    """A setting, or a pair of settings, that cannot be run."""


class DataError(DistillkitError):
    """A dataset that is missing, malformed, or does not fit the models."""


class ModelError(DistillkitError):
    """A model or tokenizer that is missing, damaged, or does not fit the other one."""


class RunError(DistillkitError):
    """A run directory that is occupied, unwritable, or holds a damaged checkpoint."""


class EndpointError(DistillkitError):
    """A server of others that cannot be reached, or refuses what it is asked."""


class Interrupted(BaseException):
    """The run was asked to stop and has saved its state: no error that a handler may swallow.

    Attributes:
        signal: the number of the signal that asked, 2 for Ctrl-C and 15 for SIGTERM.
    """

    def __init__(self, message: str, *, signal: int) -> None:
        super().__init__(message)
        self.signal = signal

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Interrupted, signal=self.signal), self.args


FULL = "no space is left on the disk. Free some, and the same command goes on from there."


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is a full disk, in whatever library's words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error) for words in ("No space left on device", "disk is full")):
            return True
        error = error.__cause__ or error.__context__
    return False


PATHS = (
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
)
"""Why a file system refuses a path that a user gave."""


def refused_path(error: BaseException) -> str | None:
    """A sentence on a path that the file system refuses; None where that is not what happened."""
    if not isinstance(error, OSError) or error.errno not in PATHS or error.filename is None:
        return None
    name = str(error.filename)
    shown = name if len(name) <= 200 else f"{name[:100]}...{name[-40:]}"
    return f"{shown}: {error.strerror}. Give another file or folder."
