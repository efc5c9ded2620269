"""The memory of this machine: what is free, and how freed pages are kept for the next tensor."""

import ctypes
import gc
import os
from functools import cache
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""


@cache
def keep_freed_pages() -> None:
    """Let blocks of up to 32 MiB be used again instead of going back to the system.

    Touching fresh pages costs more than the arithmetic.
    By default glibc returns every large tensor's pages when it is freed, and the next tensor of the
    same size faults them in anew: on a CPU that takes three times as long as a pass over a block of
    logits. Larger tensors are still returned. Elsewhere than under glibc nothing happens.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(M_TRIM_THRESHOLD, 1 << 30)


def give_freed_pages_back() -> None:
    """End what :func:`keep_freed_pages` keeps, between two pieces of work that share a process.

    A third of a gigabyte comes back after a small training. Elsewhere than under glibc only what
    nobody refers to any more is freed.
    """
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def available() -> int | None:
    """Bytes that this process can still be given without swapping; None where nobody knows."""
    known = [found for found in (_of_the_machine(), _of_the_container()) if found is not None]
    return min(known, default=None)


def _of_the_machine() -> int | None:
    try:
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _of_the_container() -> int | None:
    """What a container's limit leaves; None where there is no limit."""
    try:
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))
        return limit - int((CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
