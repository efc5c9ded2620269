"""Which examples a step trains on: every example once in each epoch, in a new order."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.core.seeds import child_random
from distillkit.core.types import Example


@dataclass(frozen=True, slots=True)
class Pool:
    """What the rows of a training are drawn from."""

    examples: Sequence[Example]
    """Every prompt."""
    labelled: Sequence[Example]
    """Those whose reference is known; the same object where that is all."""

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Pool":
        """Told by what each example has."""
        labelled = [example for example in examples if example.teaches]
        return cls(examples, examples if len(labelled) == len(examples) else labelled)


def draw_indices(step: int, *, batch_size: int, count: int, seed: int) -> list[int]:
    """Indices of the examples of one update, a function of the step alone.

    Args:
        step: index of the update, from 0.
        batch_size: rows of an update; may be larger than ``count``.
        count: examples in the training split.
        seed: root seed of the run.
    """
    orders: dict[int, list[int]] = {}
    chosen = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, place = divmod(position, count)
        if epoch not in orders:
            orders[epoch] = list(range(count))
            child_random(seed, "data", epoch).shuffle(orders[epoch])
        chosen.append(orders[epoch][place])
    return chosen
