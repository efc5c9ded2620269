"""One comparison: contenders timed in turns, memory in fresh processes, and who was left out."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import nan
from statistics import median
from types import ModuleType
from typing import Any

from scripts.bench.measure import alternate, peak_memory, quartiles, ratios
from scripts.bench.worker import ContenderError, Worker

OURS = "ours"


@dataclass(frozen=True, slots=True)
class Options:
    """How much is run.

    Attributes:
        quick: tiny shapes, to see that everything works; its numbers mean nothing.
        rounds: turns that are kept.
        divergence: of whole steps, ``jsd`` or ``reverse_kl``.
    """

    quick: bool = False
    rounds: int = 5
    divergence: str = "jsd"


@dataclass(slots=True)
class Comparison:
    """What was measured; everything here goes to the JSON file.

    Attributes:
        shape: the problem.
        seconds: of every kept round, by contender.
        extra_peak_bytes: peak resident memory above that before the measured section, one number
            for each fresh process.
        skipped: contenders that could not run, and why.
        notes: further numbers of one benchmark.
        base: the contender that all others are divided by.
    """

    shape: dict[str, Any]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    extra_peak_bytes: dict[str, list[int]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    base: str = OURS

    def time_ratios(self) -> dict[str, tuple[float, float, float]]:
        """Quartiles of each contender's time over that of the base, round by round."""
        over = ratios(self.seconds, to=self.base)
        return {name: quartiles(values) for name, values in over.items()}

    def memory(self) -> dict[str, float]:
        """Median of the extra peak bytes."""
        return {name: median(values) for name, values in self.extra_peak_bytes.items()}

    def memory_ratios(self) -> dict[str, float]:
        """Extra peak bytes over the base's; NaN where a tiny run needed no page of its own."""
        memory = self.memory()
        base = memory.get(self.base)
        return {name: value / base if base else nan for name, value in memory.items()}


def compare(
    module: ModuleType,
    shape: Any,
    options: Options,
    *,
    contenders: Sequence[str],
    processes: int,
) -> tuple[Comparison, dict[str, dict[str, Any]]]:
    """Time contenders in turns, then measure the memory of each.

    Args:
        module: a benchmark of this package with ``built`` and ``MEMORY_RUNS``.
        shape: given to both.
        options: how much is run.
        contenders: names that ``module.built`` knows; ours must be among them.
        processes: fresh processes for each one's memory.

    Returns:
        The numbers, and facts about what each contender that ran did.
    """
    result = Comparison(shape=asdict(shape))
    short = module.__name__.rpartition(".")[2]
    with ExitStack() as stack:
        runs: dict[str, Worker] = {}
        for name in contenders:
            try:
                run = Worker(short, name, shape)
                stack.callback(run.close)
                run()
            except ContenderError as error:
                if name == OURS:
                    raise
                result.skipped[name] = str(error)
            else:
                runs[name] = run
        result.seconds = alternate(runs, rounds=options.rounds)
        facts = {name: run.facts() for name, run in runs.items()}
    for name in runs:
        result.extra_peak_bytes[name] = [peak_memory(short, name, shape) for _ in range(processes)]
    return result, facts
