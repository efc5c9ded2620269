"""The one thread that touches the models: it answers what waits, and learns in between."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from distillkit.core.types import Example
from distillkit.models.sampling import Sampling
from distillkit.online.requests import Request
from distillkit.online.serving import Served, Server
from distillkit.serving.figures import Figures
from distillkit.serving.settings import LimitSettings

log = logging.getLogger("distillkit.serving")


class BusyError(Exception):
    """More wait than may, or nobody is served any more."""


@dataclass(eq=False, slots=True)
class Job:
    """A request that waits for its answer."""

    example: Example
    sampling: Sampling
    seed: int
    hear: Callable[[Sequence[int]], None]
    """Told of tokens as they are had, by the worker's thread."""
    done: Callable[[Served | Exception], None]
    """Told of the answer, or of what went wrong."""
    arrived: float = field(default_factory=time.monotonic)
    given_up: bool = False
    """Whether its client has left; it is not begun then."""


class Worker(threading.Thread):
    """Answers jobs side by side, and has the draft learn whenever enough was served.

    Args:
        server: the models.
        limits: how many wait, and how many are answered at a time.
        figures: are kept.
        save: writes what was learned, after every update.
    """

    def __init__(
        self, server: Server, limits: LimitSettings, figures: Figures, save: Callable[[], None]
    ) -> None:
        super().__init__(name="distillkit-worker", daemon=True)
        self._server, self._limits, self._figures, self._save = server, limits, figures, save
        self._jobs: list[Job] = []
        self._some, self._closing = threading.Condition(), False
        self._served = 0

    def submit(self, job: Job) -> None:
        """Have a job wait for its turn.

        Raises:
            BusyError: too many do.
        """
        with self._some:
            if self._closing or len(self._jobs) >= self._limits.waiting:
                raise BusyError
            self._jobs.append(job)
            self._figures.show("waiting", len(self._jobs))
            self._some.notify()

    def close(self) -> None:
        """Answer all that waits, then end."""
        with self._some:
            self._closing = True
            self._some.notify()
        self.join()

    def run(self) -> None:
        """The thread."""
        while jobs := self._next():
            self._answer(jobs)
            self._learn()

    def _next(self) -> list[Job]:
        """The oldest job and those behind it that are answered alike; none once all is done."""
        with self._some:
            while True:
                self._jobs = [job for job in self._jobs if not job.given_up]
                if self._jobs or self._closing:
                    break
                self._some.wait()
            same = [job for job in self._jobs if job.sampling == self._jobs[0].sampling]
            jobs = same[: self._limits.together]
            self._jobs = [job for job in self._jobs if job not in jobs]
            self._figures.show("waiting", len(self._jobs))
            return jobs

    def _answer(self, jobs: Sequence[Job]) -> None:
        start = time.monotonic()
        requests = [
            Request(self._served + row, "served", job.example) for row, job in enumerate(jobs)
        ]
        self._served += len(jobs)
        try:
            found: Sequence[Served | Exception] = self._server.serve(
                requests,
                sampling=jobs[0].sampling,
                seeds=[job.seed for job in jobs],
                hear=lambda row, tokens: jobs[row].hear(tokens),
            )
        except Exception as error:
            log.exception("requests were not answered")
            found = [error] * len(jobs)
        now = time.monotonic()
        self._figures.count("serving_seconds", now - start)
        for job, answer in zip(jobs, found, strict=True):
            if isinstance(answer, Served):
                self._figures.served(answer.row())
                self._figures.latency.observe(now - job.arrived)
            job.done(answer)

    def _learn(self) -> None:
        """An update that goes wrong is told in the log, and leaves the draft as it was."""
        start, figures = time.monotonic(), self._figures
        try:
            for row in self._server.learn():
                # Whoever reads of a version may count on it.
                self._save()
                figures.show("draft_version", row["version"])
                figures.count("updates")
                figures.count("update_seconds", time.monotonic() - start)
                start = time.monotonic()
        except Exception:
            # Whatever it is, whoever waits is to be answered.
            figures.count("updates_refused")
            log.exception("the draft did not learn")
        held = sum(buffer.size for buffer in self._server.buffers.values())
        figures.show("buffer_bytes", held)
