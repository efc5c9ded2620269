"""The group of processes that torchrun, or a scheduler that sets its variables, has started."""

from datetime import timedelta

import torch
import torch.distributed as dist

from distillkit.core import world
from distillkit.core.errors import RunError

SPOKEN = "distillkit/spoken"
"""Key of the group's store that counts who has told the person why the run ends."""

WORDS = ("Connection closed by peer", "Connection reset by peer", "Timed out", "Broken pipe")
"""What torch says of another process that is gone, in the midst of much else."""
BROKEN = (*WORDS, "gloo", "NCCL", "TCPStore")
"""Words of errors that are of the group."""


def join(device: torch.device, *, seconds: float) -> None:
    """Find the others, once in the life of a process.

    Args:
        device: that the models are put on.
        seconds: after which a process that does not answer is given up.

    Raises:
        RunError: they cannot be found.
    """
    if dist.is_initialized():
        return
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0][:200]
        raise RunError(
            f"the {world.size()} processes of this run do not find each other ({first}). Start "
            "them all with torchrun, whose --rdzv-endpoint every machine can reach."
        ) from error


def leave() -> None:
    """Part from the others, if there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def broken(error: BaseException) -> str | None:
    """A sentence where an error means that another process is gone; None where it does not."""
    if not (dist.is_initialized() and isinstance(error, RuntimeError)):
        return None
    said = str(error)
    if not (isinstance(error, dist.DistError) or any(word in said for word in BROKEN)):
        return None
    known = next((f" ({word})" for word in WORDS if word in said), "")
    return (
        f"another process of this run has ended or no longer answers{known}. What the "
        "last checkpoint has is kept: the same command goes on from there."
    )


def speaks() -> bool:
    """Whether this process is the first one to say why the run ends; the others keep silent."""
    if not dist.is_initialized():
        return world.rank() == 0
    try:
        return dist.distributed_c10d._get_default_store().add(SPOKEN, 1) == 1
    except RuntimeError:
        # The store has gone with the process that kept it, so nobody else can have spoken since.
        return True
