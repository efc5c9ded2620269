"""What a step would take if its products and the reading of its weights were all that took time.

Every product is counted once: prompt and response go through each body once, the block of the last
layer and the heads work where they are read, and a backward pass is two forward ones. A step of
decoding takes as long as its products or the reading of all weights, whichever is longer. Both
rates are this machine's own, measured anew for each step: where cores are shared, they move by half
within the hour, and a multiple of another moment's limit says nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from distillkit.models.language_model import LanguageModel
from distillkit.models.linear import times_transposed

WIDE = 4
"""Bytes of a number."""
MOVED = 7
"""Numbers that AdamW reads or writes for each parameter: itself and both moments twice, and the
gradient once."""
SIDE, TURNS = 1024, 12
"""Width of the products that are timed, and how often."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What this machine can do."""

    products: float
    """Operations a second of the faster library, a multiplication and an addition counting two."""
    reading: float
    """Bytes a second out of as much memory as the weights that are read take."""

    @classmethod
    def measured(cls, weights: int) -> "Rates":
        """With as many threads as torch has now.

        Args:
            weights: bytes that decoding reads again and again.
        """
        left, right = torch.randn(2 * SIDE, SIDE), torch.randn(SIDE, SIDE)
        ways = (lambda: left @ right.T, lambda: times_transposed(left, right))
        operations = 2 * left.numel() * SIDE
        memory = torch.randn(max(1, weights // WIDE))
        # A product with a vector reads at half the speed of these: no way of MKL's is the limit.
        readings = (memory.sum, memory.amax, lambda: torch.dot(memory, memory))
        return cls(
            products=operations / min(map(_quickest, ways)),
            reading=memory.numel() * WIDE / min(map(_quickest, readings)),
        )


def _quickest(work: Callable[[], object]) -> float:
    found = []
    for _ in range(TURNS):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def told(rates: Sequence[Rates]) -> str:
    """Medians, for a heading."""
    products, reading = (
        median(getattr(each, kind) for each in rates) / 1e9 for kind in ("products", "reading")
    )
    return f"{products:,.0f} GFLOP/s and {reading:,.0f} GB/s"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one model."""

    body: int
    """Numbers that each token is multiplied with."""
    head: int
    """The same at a position whose logits are wanted."""
    block: int
    """The part of the body that works where it is read alone."""
    attention: int
    """Layers times width of the heads together."""
    learning: int
    """Parameters that move."""

    @classmethod
    def of(cls, model: LanguageModel) -> "Sizes":
        """As it was loaded."""
        config = model.module.config
        block = model.narrowed.parameters() if model.narrowed is not None else ()
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        return cls(
            body=model.active_parameters,
            head=model.vocabulary * config.hidden_size,
            block=sum(each.numel() for each in block),
            attention=config.num_hidden_layers * config.num_attention_heads * width,
            learning=sum(each.numel() for each in model.parameters()),
        )

    @property
    def weights(self) -> int:
        """Bytes that a step of decoding reads."""
        return WIDE * (self.body + self.head)

    def forward(self, lengths: Sequence[int], read: int) -> float:
        """Operations of rows of so many tokens, of which some positions are read."""
        tokens = sum(lengths)
        looking = 2 * self.attention * sum(length**2 for length in lengths)
        return 2 * (self.body * tokens - self.block * (tokens - read)) + looking


def limits(
    student: Sizes,
    teacher: Sizes,
    prompts: Sequence[int],
    responses: Sequence[int],
    rates: Rates,
) -> dict[str, float]:
    """Seconds of each phase of an on-policy step.

    Args:
        student: writes and learns.
        teacher: reads.
        prompts: tokens of each row.
        responses: likewise.
        rates: of the machine.
    """
    read = sum(responses)
    lengths = [sum(row) for row in zip(prompts, responses, strict=True)]
    writing = student.forward(prompts, len(prompts)) / rates.products
    for place in range(max(responses)):
        rows = [
            length + place for length, end in zip(prompts, responses, strict=True) if end > place
        ]
        looking = 4 * student.attention * sum(rows)
        work = 2 * len(rows) * (student.body + student.head) + looking
        writing += max(work / rates.products, student.weights / rates.reading)
    return {
        "rollout": writing,
        "teacher": teacher.forward(lengths, read) / rates.products,
        "student": 3 * student.forward(lengths, read) / rates.products,
        "loss": 2 * read * (3 * student.head + teacher.head) / rates.products,
        "optimizer": MOVED * WIDE * student.learning / rates.reading,
    }
