"""Where will the numbers go?"""

from collections.abc import Iterator

from distillkit.preflight.finding import Finding, ok, warning
from distillkit.preflight.subject import Subject


def tracking(subject: Subject) -> Iterator[Finding]:
    """Online, offline, or into the run directory alone."""
    mode = subject.run.tracker.mode()
    if mode == "offline":
        yield warning(
            "W&B is offline here, so it keeps the run in its run directory",
            why="nobody can watch it until wandb sync uploads it",
            mend="Run wandb login first, or set tracker=none",
        )
    else:
        yield ok(f"tracker: {mode}")
