"""Does a run that several processes share fit into each of them?"""

from collections.abc import Iterator

from distillkit.core.spec import name_of
from distillkit.distributed.settings import PlacementSettings, ReplicaSettings, ShardedSettings
from distillkit.models.loading import pick_device
from distillkit.preflight.dry_run import dry_run
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.sizes import size
from distillkit.preflight.subject import Subject


def fewest(placement: PlacementSettings) -> int:
    """The fewest processes that a placement can be had with."""
    if isinstance(placement, ShardedSettings):
        return 2 * placement.replicas
    return 2 if isinstance(placement, ReplicaSettings) else 1


def each_process(subject: Subject, count: int) -> Iterator[Finding]:
    """What each of so many processes would hold, against what is free here for one of them."""
    run = subject.run
    found = dry_run(run, count, room=subject.room)
    device = pick_device(run.device)
    free, peak = subject.machine.free_memory(device), found.total(found.largest)
    what = (
        f"placement={name_of(run.placement)}: each of {count} processes holds {size(found.state)} "
        f"of weights, gradients and moments, and about {size(peak)} at its peak "
        f"({found.largest})"
    )
    if free is None or peak <= free:
        yield ok(f"{what}; distillkit estimate --processes {count} says of what")
        return
    what = f"{what}; {size(free)} are free on {device}"
    if found.state > free:
        yield fatal(
            what,
            why="no process could take a first update",
            mend="Use placement=sharded with more processes for each replica, or a smaller model",
        )
    else:
        yield warning(
            what,
            why=f"a process may run out of memory; distillkit estimate --processes {count} says "
            "of what",
            mend="Use more processes, student.gradient_checkpointing=true, precision=bf16, a lower "
            "loop.micro_batch_tokens or a lower rollout.batch_size",
        )
