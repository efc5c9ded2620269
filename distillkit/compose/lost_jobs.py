"""Jobs of submitit whose process is gone without a word, as on a machine that fails.

Hydra's launcher stops waiting at the first of them and leaves all others unobserved.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

LAUNCHERS = tuple(f"hydra/launcher=submitit_{where}" for where in ("local", "slurm"))


@contextmanager
def outlived(hydras: Sequence[str]) -> Iterator[None]:
    """Inside, a lost job has no number, and the wait for others goes on.

    Args:
        hydras: what is said of launcher and sweeper.
    """
    if not any(item in LAUNCHERS for item in hydras):
        yield
        return
    import submitit
    from submitit.core.utils import UncompletedJobError

    jobs: Any = submitit.Job
    results = jobs.results
    # A sweeper that learns from numbers hears of the failure; the other one would stop at it.
    learns = any(
        item.startswith("hydra/sweeper=") and item != "hydra/sweeper=basic" for item in hydras
    )
    status = JobStatus.FAILED if learns else JobStatus.COMPLETED

    def of_lost_ones_too(job: Any) -> list[Any]:
        try:
            return results(job)
        except UncompletedJobError as error:
            # Whoever asks an unfinished job for its value is told the error.
            value = error if learns else float("nan")
            return [JobReturn(status=status, _return_value=value)]

    jobs.results = of_lost_ones_too
    try:
        yield
    finally:
        jobs.results = results
