"""What is kept of requests that were served, until drafts have learned from them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from distillkit.core.seeds import child_random
from distillkit.core.types import Example, Response, Rollout
from distillkit.models.speculation import Speculated
from distillkit.online.requests import Request
from distillkit.online.settings import BufferSettings, UpdateSettings
from distillkit.opinions.sparse import SparseOpinion
from distillkit.supports.base import Sparse


@dataclass(frozen=True, slots=True)
class Record:
    """A request that was served.

    Attributes:
        request: its place in the stream.
        example: what was asked.
        response: what the target wrote.
        labels: what the target thinks at every token of it; None where nothing was kept.
        rejected: whether the target replaced a proposal there.
    """

    request: int
    example: Example = field(repr=False)
    response: Response
    labels: Sparse | None = field(repr=False)
    rejected: tuple[bool, ...] = field(repr=False)

    @classmethod
    def of(cls, request: Request, served: Speculated) -> "Record":
        """The record of a response."""
        pairs = zip(served.overlaps, served.accepted, strict=True)
        rejected = tuple(chance == chance and not stands for chance, stands in pairs)
        return cls(request.index, request.example, served.response, served.labels, rejected)

    @property
    def rollout(self) -> Rollout:
        """As a training sees it."""
        return Rollout(self.example, self.response)

    @property
    def opinion(self) -> SparseOpinion | None:
        """The target's, as a training reads it."""
        return None if self.labels is None else SparseOpinion(self.labels)

    def weights(self, update: UpdateSettings) -> Tensor:
        """Of each position [N], fp32; the mean over an update is yet to be taken."""
        chosen = torch.tensor(self.rejected)
        return torch.where(chosen, update.rejected, update.others).float()

    @property
    def size(self) -> int:
        """Bytes of the labels, which are nearly all of it."""
        return sum(each.numel() * each.element_size() for each in self.labels or ())


class Buffer:
    """Records of one draft: those that wait for its next update, and old ones.

    Args:
        settings: how many old ones are kept, and how many of them an update sees.
        seed: root of the draws.
    """

    def __init__(self, settings: BufferSettings, *, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self.waiting: list[Record] = []
        self.old: deque[Record] = deque()
        self.size = 0
        """Bytes that it holds."""

    def add(self, records: Sequence[Record]) -> None:
        """Requests that were just served."""
        self.waiting += records
        self.size += sum(record.size for record in records)

    def keep(self, records: Sequence[Record]) -> None:
        """Requests that were learned from, and may be again; the oldest leave."""
        self.old.extend(records)
        self.size += sum(record.size for record in records)
        while len(self.old) > (self._settings.capacity if self._settings.replay else 0):
            self.size -= self.old.popleft().size

    def take(self, update: int) -> list[Record]:
        """All that waits, with its share of old records; what was waiting is old from now on."""
        new, share = self.waiting, self._settings.replay
        count = min(len(self.old), round(len(new) * share / (1 - share)))
        chosen = child_random(self._seed, "replay", update).sample([*self.old], count)
        self.waiting = []
        self.size -= sum(record.size for record in new)
        self.keep(new)
        return [*new, *chosen]
