"""The loss layer alone: time, memory, agreement with float64, other divergences, lengths."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from scripts.bench import layer
from scripts.bench.compare import Comparison, Options, compare, memory_of
from scripts.bench.layer import (
    BETA,
    CONTENDERS,
    DIVERGENCES,
    FULL,
    TINY,
    Problem,
    Shape,
    errors,
    oracle,
    ours,
    problem_of,
    timed,
)
from scripts.bench.measure import alternate, quartiles, ratios
from scripts.bench.report import MEGABYTE, comparison_table, plain_table

LENGTHS = (256, 2048)
"""Positions at which our memory is measured."""


def run(options: Options, console: Console) -> Comparison:
    """Time and memory beside the peers, agreement, every divergence, and memory by length."""
    shape = TINY if options.quick else FULL
    result, facts = compare(layer, shape, options, contenders=list(CONTENDERS))
    title = f"loss: JSD({BETA}), {shape.positions:,} positions, {shape.vocabulary:,} entries"
    comparison_table(f"{title}, widths {shape.student} and {shape.teacher}", result, console)
    beyond = {
        name: (value - shape.gradient_bytes) / MEGABYTE for name, value in result.memory().items()
    }
    against = agreement([name for name in facts if name != "products"], shape)
    half = replace(shape, positions=shape.positions // 2)
    times = divergence_times(half, rounds=min(2, options.rounds))
    by_length = memory_by_length(shape, LENGTHS[:2] if options.quick else LENGTHS)
    result.notes |= {
        "megabytes_beyond_gradients": beyond,
        "errors_against_float64": against,
        "divergence_seconds": times,
        "our_bytes_beyond_gradients_by_positions": by_length,
    }
    _print_notes(result, console)
    return result


def memory_by_length(shape: Shape, lengths: Sequence[int]) -> dict[int, int]:
    """Our extra peak bytes beyond the gradients themselves, by positions."""
    shapes = [replace(shape, positions=length) for length in lengths]
    return {
        item.positions: memory_of("layer", "ours", item) - item.gradient_bytes for item in shapes
    }


def divergence_times(shape: Shape, *, rounds: int) -> dict[str, list[float]]:
    """Seconds of our objective with every divergence."""
    problem = problem_of(shape)
    runs = {name: timed(problem, ours(problem, name)) for name in DIVERGENCES}
    return alternate(runs, rounds=rounds, warmup=0)


def agreement(names: Sequence[str], shape: Shape) -> dict[str, dict[str, float]]:
    """Each contender's relative errors on a few positions, against dense float64."""
    problem = Problem(replace(shape, positions=min(64, shape.positions)))
    exact = oracle(problem)
    return {name: errors(name, problem, exact) for name in names}


def _print_notes(result: Comparison, console: Console) -> None:
    notes = result.notes
    plain_table(
        "relative error against dense float64 (64 positions)",
        {
            name: {key: f"{value:.1e}" for key, value in found.items()}
            for name, found in notes["errors_against_float64"].items()
        },
        console,
    )
    relative = ratios(notes["divergence_seconds"], to="jsd")
    plain_table(
        "our time with every divergence, over that with jsd",
        {name: {"ratio": f"{quartiles(values)[1]:.2f}"} for name, values in relative.items()},
        console,
    )
    lengths = notes["our_bytes_beyond_gradients_by_positions"]
    plain_table(
        "memory beyond the gradients",
        {
            **{
                f"{name}, {result.shape['positions']:,} positions": {"MB": f"{value:,.0f}"}
                for name, value in notes["megabytes_beyond_gradients"].items()
            },
            **{
                f"ours, {length:,} positions, by length": {"MB": f"{value / MEGABYTE:,.0f}"}
                for length, value in lengths.items()
            },
        },
        console,
    )
