"""The embedded world: procedural grade-school word problems with worked rationales.

A problem is a function of (seed, split, index). Its chain of operations is hashed to decide which
split may hold it, so that no chain of one split occurs in another, whatever the seeds or sizes.
"""

import hashlib
import random
from collections.abc import Sequence

from distillkit.core.errors import ConfigError
from distillkit.core.seeds import child_random
from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.answers import last_marked_number
from distillkit.datasets.base import Dataset, ask
from distillkit.datasets.rationale import Detail, Step, Style, write_rationale
from distillkit.datasets.wording import WORDING, Domain, Operation

TENTHS = {Split.train: range(8), Split.validation: range(8, 9), Split.test: range(9, 10)}
"""Tenths of the space of chains that each split draws from."""

DETAILS: dict[Style, Sequence[Detail]] = {
    Style.compact: (),
    Style.expanded: (Detail.add, Detail.subtract, Detail.multiply, Detail.divide),
}
"""What the dataset's own rationales say beyond one line an operation."""

MOST = 1_000_000
"""Problems of a split that are written in minutes and fit into memory."""

ATTEMPTS = 1000
"""Chains drawn for one problem before its settings are said to leave no room."""


@spec("dataset/arithmetic")
class Arithmetic(Dataset):
    """Word problems of ``min_steps`` to ``max_steps`` operations on a running quantity."""

    seed: int = 0
    """Root of the world. Splits stay disjoint across seeds too."""
    domain: Domain = Domain.market
    """Wording, names and operations: ``market`` (+ - *) or ``journey`` (+ - /)."""
    operations: list[Operation] | None = None
    """Operations to draw from; all that the domain words, if null."""
    min_steps: int = 1
    """Fewest operations in a problem."""
    max_steps: int = 3
    """Most operations in a problem."""
    digits: int = 2
    """Digits of the numbers in the text; results may have one more."""
    style: Style = Style.compact
    """``compact`` writes a line an operation, ``expanded`` partial products and carries too."""
    train: int = 2000
    """Problems in the training split."""
    validation: int = 500
    """Problems in the validation split."""
    test: int = 1000
    """Problems in the test split."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_steps <= self.max_steps:
            raise ConfigError(
                f"dataset.min_steps={self.min_steps} and dataset.max_steps={self.max_steps}: "
                "give 1 <= min_steps <= max_steps."
            )
        if not 1 <= self.digits <= 6:
            raise ConfigError(f"dataset.digits={self.digits} must lie between 1 and 6.")
        for split in Split:
            if not 1 <= getattr(self, split) <= MOST:
                raise ConfigError(
                    f"dataset.{split}={getattr(self, split)} must lie between 1 and {MOST}: all "
                    "problems are written before the first step."
                )
        worded = WORDING[self.domain].events
        for operation in self.operations or ():
            if operation not in worded:
                raise ConfigError(
                    f"dataset.operations has {operation}, which dataset.domain={self.domain} "
                    f"does not word. Choose from {', '.join(worded)}."
                )

    def examples(self, split: Split) -> Sequence[Example]:
        return [self.problem(split, index) for index in range(getattr(self, split))]

    def extract(self, text: str) -> str | None:
        return last_marked_number(text)

    def problem(self, split: Split, index: int) -> Example:
        """The problem at a position of a split, beyond the split's size too.

        Raises:
            ConfigError: the settings are so narrow that the split's share of chains is empty.
        """
        steps, draw = self._drawn(split, index)
        return Example(
            id=f"{self.domain}-{split}-{index}",
            prompt=ask(self._text(steps, draw)),
            reference=write_rationale(steps, DETAILS[self.style]),
            answer=str(steps[-1].result),
            tags=(("domain", self.domain),),
        )

    def steps(self, example: Example) -> tuple[Step, ...]:
        """The operations behind a problem of this world."""
        split, index = example.id.split("-")[1:]
        return self._drawn(Split(split), int(index))[0]

    def _drawn(self, split: Split, index: int) -> tuple[tuple[Step, ...], random.Random]:
        """The chain at a position, and the generator as it stands after it."""
        draw = child_random(self.seed, "arithmetic", self.domain, split, index)
        for _ in range(ATTEMPTS):
            steps = self._chain(draw)
            if steps and _tenth(steps) in TENTHS[split]:
                return steps, draw
        raise ConfigError(
            f"dataset.digits={self.digits} with dataset.min_steps={self.min_steps} and these "
            f"operations leaves no problem for the {split} split. Allow more digits, fewer steps "
            "or more operations."
        )

    def _chain(self, draw: random.Random) -> tuple[Step, ...] | None:
        allowed = self.operations or list(WORDING[self.domain].events)
        limit = 10**self.digits
        quantity, steps = draw.randrange(2, limit), []
        for _ in range(draw.randint(self.min_steps, self.max_steps)):
            step = _draw_step(quantity, draw.choice(allowed), limit, draw)
            if step is None:
                return None
            steps.append(step)
            quantity = step.result
        return tuple(steps)

    def _text(self, steps: tuple[Step, ...], draw: random.Random) -> str:
        wording = WORDING[self.domain]
        who, other = draw.sample(wording.people, 2)
        words = {"who": who, "other": other, "thing": draw.choice(wording.things)}
        sentences = [draw.choice(wording.openings).format(a=steps[0].left, **words)]
        for step in steps:
            event = draw.choice(wording.events[step.operation])
            sentences.append(event.format(b=step.right, **words))
        return " ".join([*sentences, draw.choice(wording.questions).format(**words)])


def _draw_step(quantity: int, operation: Operation, limit: int, draw: random.Random) -> Step | None:
    """A step from the quantity that keeps numbers whole, positive and below ``10 * limit``."""
    match operation:
        case Operation.add:
            step = Step(quantity, operation, draw.randrange(2, limit))
            return step if step.result < 10 * limit else None
        case Operation.subtract:
            most = min(quantity, limit)
            return Step(quantity, operation, draw.randrange(1, most)) if most > 1 else None
        case Operation.multiply:
            return Step(quantity, operation, draw.randrange(2, 10)) if quantity < limit else None
        case Operation.divide:
            divisors = [d for d in range(2, 10) if quantity % d == 0]
            return Step(quantity, operation, draw.choice(divisors)) if divisors else None


def _tenth(steps: tuple[Step, ...]) -> int:
    chain = ";".join(step.equation for step in steps)
    return hashlib.sha256(chain.encode()).digest()[0] * 10 // 256
