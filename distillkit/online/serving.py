"""Serves requests, and has drafts learn between them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from distillkit.core.seeds import child_seed
from distillkit.core.types import Author
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.models.side import Ready
from distillkit.models.speculation import Hear, Speculated, Speculator
from distillkit.online.draft import OnlineDraft
from distillkit.online.records import Buffer, Record
from distillkit.online.requests import Request
from distillkit.online.routing import Route
from distillkit.online.settings import UpdateSettings


@dataclass(frozen=True, slots=True)
class Served:
    """A request, its response, and which draft of which version proposed."""

    request: Request
    draft: str
    version: int
    told: Speculated = field(repr=False)

    def row(self) -> dict[str, Any]:
        """Its numbers, the same whenever it is repeated; nothing of its text."""
        told = self.told
        return {
            "request": self.request.index,
            "domain": self.request.domain,
            "draft": self.draft,
            "version": self.version,
            "tokens": len(told.response.tokens),
            "rounds": told.rounds,
            "verified": told.verified,
            "accepted": sum(told.accepted),
            "overlap": sum(each for each in told.overlaps if each == each),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """How requests are answered.

    Attributes:
        target: writes.
        sampling: how it does.
        proposals: tokens that a draft proposes in a round.
        labels: entries of the target's opinion that are kept of every token; 0 for none.
        route: which draft proposes.
        update: when drafts learn.
        seed: root seed of the run.
        poll: called now and then; may raise to stop.
    """

    target: LanguageModel
    sampling: Sampling
    proposals: int
    labels: int
    route: Route
    update: UpdateSettings
    seed: int
    poll: Callable[[], None] = lambda: None


class Server:
    """A target with its drafts.

    Args:
        service: how requests are answered.
        drafts: by name.
        buffers: of each draft.
    """

    def __init__(
        self,
        service: Service,
        drafts: Mapping[str, OnlineDraft],
        buffers: Mapping[str, Buffer],
    ) -> None:
        self._service, self.drafts, self.buffers = service, drafts, buffers
        self._target = Ready(service.target)
        self._ready = {name: Ready(draft.student) for name, draft in drafts.items()}
        self._since = dict.fromkeys(drafts, time.monotonic())

    def serve(
        self,
        requests: Sequence[Request],
        *,
        sampling: Sampling | None = None,
        seeds: Sequence[int] | None = None,
        hear: Hear | None = None,
    ) -> list[Served]:
        """Answer requests side by side, and keep what was learned about them.

        Args:
            requests: what is asked.
            sampling: how they are answered; as all are if None.
            seeds: of each one's draws; of the run and its place in the stream if None.
            hear: told of tokens as they are had, by the row of the request.
        """
        service = self._service
        if seeds is None:
            seeds = [child_seed(service.seed, "request", request.index) for request in requests]
        names = [service.route(request) for request in requests]
        served: dict[int, Served] = {}
        for name in dict.fromkeys(names):
            rows = [row for row, other in enumerate(names) if other == name]
            own = [requests[row] for row in rows]
            asked = [request.example for request in own]
            draft = self.drafts[name]
            speculator = Speculator(
                self._target, self._ready[name], k=service.proposals, labels=service.labels
            )
            told = speculator.write(
                service.target.prompts.of(asked),
                draft.student.prompts.of(asked),
                sampling or service.sampling,
                seed=[seeds[row] for row in rows],
                author=Author.teacher,
                poll=service.poll,
                hear=None if hear is None else partial(_passed_on, hear, rows),
            )
            for row, each in zip(rows, told, strict=True):
                served[row] = Served(requests[row], name, draft.version, each)
            if service.update.interval is not None:
                records = [Record.of(*pair) for pair in zip(own, told, strict=True)]
                self.buffers[name].add(records)
        return [served[row] for row in range(len(requests))]

    def learn(self) -> Iterator[dict[str, Any]]:
        """Have every draft learn whose time has come; a row of numbers for each."""
        for name, draft in self.drafts.items():
            buffer = self.buffers[name]
            if buffer.waiting and self._due(name, len(buffer.waiting)):
                records = buffer.take(draft.version)
                found = draft.learn(records)
                self._ready[name] = Ready(draft.student)
                self._since[name] = time.monotonic()
                yield {"draft": name, "version": draft.version, "records": len(records), **found}

    def _due(self, name: str, waiting: int) -> bool:
        update = self._service.update
        late = update.seconds is not None and time.monotonic() - self._since[name] >= update.seconds
        return late or (update.interval is not None and waiting >= update.interval)


def _passed_on(hear: Hear, rows: Sequence[int], row: int, tokens: Sequence[int]) -> None:
    hear(rows[row], tokens)
