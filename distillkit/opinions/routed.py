"""An opinion of a text that several readers have read, each some of its rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from distillkit.core.types import Index, PerToken
from distillkit.opinions.base import Heard, Opinion
from distillkit.supports.base import Drawn, Sparse, Told


@dataclass(frozen=True, slots=True)
class RoutedOpinion:
    """What each of several readers thinks at its own positions."""

    parts: Mapping[int, Opinion]
    """By the number of the reader, of its positions in their order; none of who has none."""
    owners: Index
    """Number of the reader of each packed position [N], on the CPU."""

    def __len__(self) -> int:
        return len(self.owners)

    def opened(self, rows: int) -> Callable[[slice], Heard]:
        """Where a slice is one reader's, it is what that one says; else it is put together.

        Each reader has a buffer of its own beside the one in which they meet.
        """
        heard = {number: part.opened(rows) for number, part in self.parts.items()}
        if len(heard) == 1:
            return next(iter(heard.values()))
        begins = {number: [0, *(self.owners == number).cumsum(0).tolist()] for number in self.parts}
        buffers = list[Tensor]()

        def meeting(part: slice) -> Heard:
            start, stop, _ = part.indices(len(self))
            said = dict[int, Heard]()
            for number, hear in heard.items():
                own = slice(begins[number][start], begins[number][stop])
                if own.stop - own.start == stop - start:
                    return hear(own)
                if own.stop > own.start:
                    said[number] = hear(own)
            owners = self.owners[start:stop]
            if not all(isinstance(each, Tensor) for each in said.values()):
                return _together(said, owners)
            if not buffers:
                buffers.append(_room(said, min(rows, len(self))))
            return _laid(said, owners, buffers[0][: stop - start])

        return meeting

    def drawn(self, *, chunk_mb: int) -> PerToken:
        """As each reader finds its own rows."""
        said = {number: part.drawn(chunk_mb=chunk_mb) for number, part in self.parts.items()}
        return _laid(said, self.owners, _room(said, len(self)))

    def rolled(self) -> Self:
        """Of several readers, what is drawn goes with the opinion."""
        if len(self.parts) == 1:
            return replace(self, parts={n: part.rolled() for n, part in self.parts.items()})
        by = len(self) // 2 or 1
        last = self.owners[len(self) - by :]
        parts = dict[int, Opinion]()
        for number, part in self.parts.items():
            moved = int((last == number).sum())
            kept, gone = part.split([len(part) - moved, moved])
            parts[number] = gone.join([kept])
        return replace(self, parts=parts, owners=self.owners.roll(by))

    def split(self, lengths: Sequence[int]) -> list[Self]:
        """Views."""
        owners = self.owners.split(list(lengths))
        counts = {n: [int((own == n).sum()) for own in owners] for n in self.parts}
        pieces = {number: part.split(counts[number]) for number, part in self.parts.items()}
        return [
            replace(
                self,
                parts={n: pieces[n][place] for n in self.parts if counts[n][place]},
                owners=own,
            )
            for place, own in enumerate(owners)
        ]

    def join(self, others: Sequence[Self]) -> Self:
        """A copy."""
        held = dict[int, list[Opinion]]()
        for each in (self, *others):
            for number, part in each.parts.items():
                held.setdefault(number, []).append(part)
        return replace(
            self,
            parts={number: first.join(more) for number, (first, *more) in held.items()},
            owners=torch.cat([each.owners for each in (self, *others)]),
        )


def _room(said: Mapping[int, Heard], rows: int) -> Tensor:
    """Memory for what is said of so many positions."""
    first = next(iter(said.values()))
    assert isinstance(first, Tensor)
    return first.new_empty(rows, *first.shape[1:])


def _laid(said: Mapping[int, Heard], owners: Index, into: Tensor) -> Tensor:
    """What each reader says, at its own rows of ``into``."""
    for number, own in said.items():
        assert isinstance(own, Tensor), "all members tell entries then"
        into[(owners == number).to(into.device)] = own
    return into


def _together(said: Mapping[int, Heard], owners: Index) -> Told:
    """What each reader tells of its own rows, as many entries of each."""
    told = [own for own in said.values() if isinstance(own, Sparse | Drawn)]
    assert len(told) == len(said), "all members tell entries then"
    order = torch.cat([(owners == number).nonzero()[:, 0] for number in said])
    order = order.argsort().to(told[0].ids.device)
    return type(told[0])(*(torch.cat(each)[order] for each in zip(*told, strict=True)))
