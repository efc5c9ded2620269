"""The machine that a run would use: what is free of its memory and its disks."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from distillkit.core.memory import available


@dataclass(frozen=True, slots=True)
class Machine:
    """Readers of a machine's room, so that another machine can be put in their place."""

    free_memory: Callable[[torch.device], int | None]
    """Bytes that a device can still give; None where nobody knows."""
    free_disk: Callable[[Path], int]
    """Bytes that can still be written below a path."""


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(_free_memory, lambda path: shutil.disk_usage(existing(path)).free)


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    whole = path.absolute()
    return next(place for place in (whole, *whole.parents) if place.exists())


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch has reserved and not given out can be had too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free) + int(kept)
    return available()
