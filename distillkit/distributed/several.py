"""Processes joined by ``torch.distributed``: what they tell each other, whoever holds what."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from math import fsum
from typing import Generic, TypeVar

import torch
import torch.distributed as dist

from distillkit.core import world
from distillkit.core.errors import ConfigError, DistillkitError, Interrupted
from distillkit.distributed.placement import Placement

Item = TypeVar("Item")

TOLD = (DistillkitError, Interrupted, OSError)
"""What one process tells the others when it happens to it; all else breaks the group."""


@dataclass(frozen=True, slots=True)
class Several(Placement):
    """This process among several; rows are dealt out in turns."""

    def device(self, asked: torch.device) -> torch.device:
        """Every process of a machine has a device of its own.

        Raises:
            ConfigError: one is named for all of them.
        """
        if asked.type != "cuda":
            return asked
        if asked.index is not None:
            raise ConfigError(
                f"device={asked} is one device, and {self.size} processes were started, each of "
                "which has its own. Use device=cuda."
            )
        # Slurm's gpus_per_task shows each process its own alone.
        number = world.local_rank() if torch.cuda.device_count() > 1 else 0
        own = torch.device("cuda", number)
        torch.cuda.set_device(own)
        return own

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``size``-th item."""
        return items[self.rank :: self.size]

    def gather(self, mine: Sequence[Item]) -> list[Item]:
        """In the order they had before :meth:`mine`."""
        shares = self._shares(mine)
        count = sum(map(len, shares))
        return [shares[place % self.size][place // self.size] for place in range(count)]

    def merge(self, mine: Mapping[int, Item]) -> dict[int, Item]:
        """No two share a key."""
        return {key: item for share in self._shares(mine) for key, item in share.items()}

    def add_up(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """A process without a row has no names of its own."""
        shares = self._shares(numbers)
        names = dict.fromkeys(name for share in shares for name in share)
        return {name: fsum(share.get(name, 0.0) for share in shares) for name in names}

    def told(self, make: Callable[[], Item]) -> Item:
        """The others wait."""
        said = [_Outcome.of(make) if self.chief else None]
        dist.broadcast_object_list(said, src=0)
        assert said[0] is not None
        return said[0].given()

    @contextmanager
    def led(self, make: Callable[[], AbstractContextManager[Item]]) -> Iterator[Item]:
        """How it is entered, and left without an error, is told to the others."""
        with ExitStack() as stack:
            yield self.told(lambda: stack.enter_context(make()))
            self.told(stack.close)

    def together(self, make: Callable[[], Item]) -> Item:
        """Nobody goes on before all have ended."""
        outcome = _Outcome.of(make)
        for error in self._shares(outcome.error):
            if error is not None:
                raise error
        return outcome.given()

    def agreed(self, signal: int | None) -> int | None:
        """One is enough."""
        return max(filter(None, self._shares(signal)), default=None)

    def _shares(self, mine: Item) -> list[Item]:
        """Everybody's, by rank."""
        shares: list[Item] = [mine] * self.size
        dist.all_gather_object(shares, mine)
        return shares


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[Item]):
    """What came of a call: a value, or an error that the others hear of."""

    value: Item | None = None
    error: BaseException | None = None

    @classmethod
    def of(cls, make: Callable[[], Item]) -> "_Outcome[Item]":
        try:
            return cls(value=make())
        except TOLD as error:
            return cls(error=error)

    def given(self) -> Item:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]
