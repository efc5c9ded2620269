"""The part of a stream between its first and last request: serve, learn, probe, save, stop."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

from distillkit.core.errors import Interrupted
from distillkit.core.journal import Journal
from distillkit.core.rundir import RunDirectory
from distillkit.core.stopping import Stop
from distillkit.online.draft import OnlineDraft
from distillkit.online.offline import Offline
from distillkit.online.probes import Probes
from distillkit.online.records import Buffer
from distillkit.online.requests import Request
from distillkit.online.serving import Server, Service
from distillkit.online.tallies import tally
from distillkit.programs.osd.assemble import Assembled
from distillkit.programs.osd.drafting import labels_of, learning_of
from distillkit.programs.osd.keeping import read_old, save_old
from distillkit.programs.osd.standing import (
    JOURNALS,
    METRICS,
    PROBES,
    REQUESTS,
    TIMING,
    UPDATES,
    Standing,
)
from distillkit.programs.watch import Watch
from distillkit.run_drafts import OsdRun
from distillkit.training.checkpoint import keep_newest, load_checkpoint, save_checkpoint
from distillkit.training.tracker import Tracked

WINDOW = 50
"""Requests over which acceptance is shown, as in the paper's figures."""


class Session:
    """Requests of one stream, from where it stands to the end.

    Attributes:
        server: answers them.
        rows: of each journal.
    """

    def __init__(
        self,
        run: OsdRun,
        parts: Assembled,
        *,
        directory: RunDirectory,
        standing: Standing,
        watch: Watch,
        tracked: Tracked,
        stop: Stop,
    ) -> None:
        self._run, self._parts, self._directory = run, parts, directory
        self._watch, self._tracked, self._stop = watch, tracked, stop
        self.progress, self.rows = standing.progress, dict(standing.rows)
        self._labels = labels_of(run)
        drafts = {name: self._draft(name) for name in parts.students}
        buffers = {name: Buffer(run.buffer, seed=run.seed) for name in drafts}
        if standing.checkpoints is not None:
            for name, path in standing.checkpoints.items():
                draft = drafts[name]
                load_checkpoint(path, student=draft.student, optimizer=draft.optimizer)
                draft.version = standing.versions(name)
                buffers[name].keep(read_old(path, parts.requests, device=parts.target.device))
            watch.say(f"resumed at request {self.progress.step}")
        # What a stopped process wrote after its last checkpoint is written again, so cut it.
        self._journals = {
            name: Journal(directory.path / name, keep=self.progress.journals.get(name, 0))
            for name in JOURNALS
        }
        tracked.again(standing.rows[METRICS], ())
        self._begun = standing.checkpoints is not None
        if not self._begun:
            self._learn_offline(drafts)
        service = Service(
            target=parts.target,
            sampling=run.rollout,
            proposals=run.proposals,
            labels=self._labels if run.update.interval is not None else 0,
            route=parts.route,
            update=run.update,
            seed=run.seed,
        )
        self.server = Server(service, drafts, buffers)
        self._serve_waiting(standing)
        self._probes = Probes(parts.target, parts.held, run.rollout, seed=run.seed, poll=stop.poll)

    def serve(self) -> None:
        """Answer all remaining requests.

        Raises:
            Interrupted: a stop was asked for; a checkpoint was saved.
        """
        run, total = self._run, len(self._parts.requests)
        if not self._begun:
            self._probe()
            self._save()
        while self.progress.step < total:
            before = self.progress.step
            self._answer(self._parts.requests[before : before + run.rollout.batch_size])
            done = self.progress.step
            if _passes(before, done, run.probe.every) or done == total:
                self._probe()
            stopped = self._stop.signal is not None
            if _passes(before, done, run.checkpoint.every) or stopped or done == total:
                self._save()
            if stopped and done < total:
                assert self._stop.signal is not None
                raise Interrupted(
                    f"stopped after request {done} of {total}, saved in {self._directory.path}; "
                    "the same command goes on from there",
                    signal=self._stop.signal,
                )
        for journal in self._journals.values():
            journal.close()

    def _draft(self, name: str) -> OnlineDraft:
        run, requests = self._run, len(self._parts.requests)
        learning = learning_of(run, updates=max(1, requests // (run.update.interval or requests)))
        return OnlineDraft(name, self._parts.students[name], self._parts.target, learning)

    def _answer(self, requests: Sequence[Request]) -> None:
        start = time.perf_counter()
        served = self.server.serve(requests)
        serving = time.perf_counter() - start
        for each in served:
            self._note(REQUESTS, each.row())
        self.progress.step += len(requests)
        held = sum(buffer.size for buffer in self.server.buffers.values())
        start = time.perf_counter()
        updates = list(self.server.learn())
        learning = time.perf_counter() - start
        for row in updates:
            self._note(UPDATES, {"request": self.progress.step, **row})
        self._note(
            TIMING,
            {
                "request": self.progress.step,
                "requests": len(requests),
                "serving": round(serving, 6),
                "learning": round(learning, 6),
                "updates": len(updates),
                "buffer_bytes": held,
            },
        )
        self._show(updates)

    def _show(self, updates: Sequence[Mapping[str, Any]]) -> None:
        done, recent = self.progress.step, tally(self.rows[REQUESTS][-WINDOW:])
        words = " ".join(f"{name} {value:.3f}" for name, value in recent.items())
        self._watch.progress(f"requests ({words})", done, len(self._parts.requests))
        numbers = {f"serving/{name}": value for name, value in recent.items()}
        for row in updates:
            numbers |= {f"update/{row['draft']}/{key}": row[key] for key in ("loss", "grad_norm")}
        if updates or done % WINDOW == 0:
            self._tell(numbers)

    def _probe(self) -> None:
        alphas = {
            name: self._probes.alphas(draft.student) for name, draft in self.server.drafts.items()
        }
        self._note(PROBES, {"request": self.progress.step, "alpha": alphas})
        flat = {
            f"probe/{name}/{domain}": alpha
            for name, found in alphas.items()
            for domain, alpha in found.items()
        }
        self._tell(flat)

    def _tell(self, numbers: dict[str, float]) -> None:
        """Numbers for whoever watches, and for one who comes later."""
        step = self.progress.step
        self._note(METRICS, {"step": step, **numbers})
        self._tracked.log(numbers, step=step)

    def _note(self, journal: str, row: dict[str, Any]) -> None:
        self._journals[journal].write(row)
        self.rows[journal].append(row)

    def _save(self) -> None:
        journals = self._journals.items()
        self.progress.journals = {name: journal.tell() for name, journal in journals}
        self.progress.digests = {name: journal.digest() for name, journal in journals}
        for name, draft in self.server.drafts.items():
            folder = self._directory.checkpoints / name
            folder.mkdir(parents=True, exist_ok=True)
            old = self.server.buffers[name].old
            save_checkpoint(
                folder,
                student=draft.student,
                optimizer=draft.optimizer,
                progress=self.progress,
                more=partial(save_old, [*old]) if old else None,
            )
        for name in self.server.drafts:
            keep_newest(self._directory.checkpoints / name, self._run.checkpoint.keep_last)

    def _learn_offline(self, drafts: Mapping[str, OnlineDraft]) -> None:
        run, parts = self._run, self._parts
        if run.offline.share == 0:
            return
        offline = Offline(
            target=parts.target,
            settings=run.offline,
            sampling=replace(run.rollout, batch_size=run.offline.batch_size),
            optimizer=run.optimizer,
            labels=self._labels,
            seed=run.seed,
            poll=self._stop.poll,
            progress=self._watch.progress,
        )
        for name, draft in drafts.items():
            own = [request for request in parts.requests if parts.route(request) == name]
            offline.learn(draft, own)

    def _serve_waiting(self, standing: Standing) -> None:
        """Answer once more what waited to be learned from when the checkpoint was saved."""
        if self._run.update.interval is None:
            return
        done, route = self.progress.step, self._parts.route
        for name in self.server.drafts:
            waiting = self._parts.requests[standing.learned(name) : done]
            for part in _side_by_side(waiting, self._run.rollout.batch_size):
                self.server.serve([request for request in part if route(request) == name])


def _side_by_side(requests: Sequence[Request], count: int) -> Iterator[list[Request]]:
    """Requests as they were answered, so many at a time from the first of the stream on."""
    for _, part in groupby(requests, key=lambda request: request.index // count):
        yield list(part)


def _passes(before: int, now: int, every: int) -> bool:
    """Whether a multiple is reached on the way; never where it is 0."""
    return bool(every) and now // every > before // every
