"""One comparison: contenders timed in turns, the memory of each, and who was left out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import nan
from statistics import median
from types import MappingProxyType, ModuleType
from typing import Any

from scripts.bench.measure import alternate, quartiles, ratios
from scripts.bench.worker import ContenderError, Worker

OURS = "ours"


@dataclass(frozen=True, slots=True)
class Options:
    """How much is run.

    Attributes:
        quick: tiny shapes, to see that everything works; its numbers mean nothing.
        rounds: turns that are kept.
        divergence: of whole steps, ``jsd`` or ``reverse_kl``.
        precision: of whole steps, ``fp32`` or ``bf16``.
        group: of whole steps, responses of each prompt; the peers read it anew for each.
    """

    quick: bool = False
    rounds: int = 5
    divergence: str = "jsd"
    precision: str = "fp32"
    group: int = 1


@dataclass(slots=True)
class Comparison:
    """What was measured; everything here goes to the JSON file.

    Attributes:
        shape: the problem.
        seconds: of every kept round, by contender.
        extra_peak_bytes: peak resident memory of the first runs above that before them, one
            number for each process.
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
    beside: Mapping[str, Callable[[], float]] = MappingProxyType({}),
) -> tuple[Comparison, dict[str, dict[str, Any]]]:
    """Measure the memory of each contender's first runs, then time all in turns.

    Args:
        module: a benchmark of this package with ``built``, ``TINY`` and ``MEMORY_RUNS``.
        shape: given to both.
        options: how much is run.
        contenders: names that ``module.built`` knows; ours must be among them.
        beside: what else takes turns, in this process; each call says its seconds.

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
                result.extra_peak_bytes[name] = [run.memory()]
            except ContenderError as error:
                if name == OURS:
                    raise
                result.skipped[name] = str(error)
            else:
                runs[name] = run
        result.seconds = alternate({**runs, **beside}, rounds=options.rounds, warmup=0)
        facts = {name: run.facts() for name, run in runs.items()}
    return result, facts


def memory_of(module: str, name: str, shape: Any) -> int:
    """Bytes that a contender of ``scripts.bench.<module>`` needs on top, in a fresh process."""
    run = Worker(module, name, shape)
    try:
        return run.memory()
    finally:
        run.close()
