"""What an update takes with every objective, beside one of on-policy distillation.

All learn from the same rollouts, and what writing them takes is measured in the same turns and
added for all alike.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from rich.console import Console

from scripts.bench import inner, steps
from scripts.bench.compare import Comparison, Options, memory_of
from scripts.bench.measure import alternate, quartiles, ratios
from scripts.bench.ours import parts_of
from scripts.bench.report import MEGABYTE, comparison_table, plain_table
from scripts.bench.updates import (
    BASE,
    CONTENDERS,
    RAGGED,
    STEP,
    TINY,
    WIDE,
    Shape,
    Updates,
    ground_of,
    write,
)

PHASES = ("reward", "teacher", "student", "loss", "optimizer")


def run(options: Options, console: Console) -> Comparison:
    """Time on even and on ragged text, memory, and what inner epochs save."""
    shape, like = (TINY, steps.TINY) if options.quick else (STEP, steps.STEP)
    result = timed(shape, options)
    _print("objectives", result, console)
    if not options.quick:
        ragged = timed(RAGGED, options)
        _print("objectives, ragged", ragged, console)
        result.notes["ragged"] = {
            **ragged.notes,
            "seconds": ragged.seconds,
            "ratios": ragged.time_ratios(),
        }
    # Fresh processes take long: a smoke test has one beside the base, of tiny shapes.
    names = list(CONTENDERS)[:2] if options.quick else list(CONTENDERS)
    result.notes["wide"] = _wide(TINY if options.quick else WIDE, names, console)
    result.notes["inner"] = inner.run(like, options, console)
    return result


def timed(shape: Shape, options: Options) -> Comparison:
    """Seconds of every contender in turns, and of writing; with phases in the notes."""
    result = Comparison(shape=asdict(shape), base=BASE)
    ground = ground_of(shape)
    rollouts = write(ground, shape)
    runs = {}
    for name in CONTENDERS:
        # A student of its own for each; the teacher never changes.
        sides = replace(parts_of(shape).sides, teacher=ground.sides.teacher)
        runs[name] = Updates(name, replace(ground, sides=sides), rollouts)

    def writing() -> float:
        start = time.perf_counter()
        write(ground, shape)
        return time.perf_counter() - start

    times = alternate({"writing": writing, **runs}, rounds=options.rounds)
    written = times.pop("writing")
    result.seconds = times
    whole = ratios(
        {name: np.add(values, written).tolist() for name, values in times.items()}, to=BASE
    )
    phases = {name: run.phases[-options.rounds :] for name, run in runs.items()}
    result.notes |= {"writing": written, "ratios_with_writing": whole, "phases": phases}
    return result


def _print(title: str, result: Comparison, console: Console) -> None:
    comparison_table(f"{title}: an update without writing", result, console)
    rows = {}
    for name, phases in result.notes["phases"].items():
        spent = {
            f"{phase}, s": f"{quartiles([each.get(phase, 0.0) for each in phases])[1]:.3f}"
            for phase in PHASES
        }
        over = quartiles(result.notes["ratios_with_writing"][name])[1]
        rows[name] = {**spent, f"with writing, over {BASE}": f"{over:.2f}"}
    writing = quartiles(result.notes["writing"])[1]
    plain_table(f"{title}: by phase; writing takes {writing:.3f} s", rows, console)


def _wide(shape: Shape, names: Sequence[str], console: Console) -> dict[str, Any]:
    """Extra peak memory where logits of all positions would be seen."""
    peaks = {name: memory_of("updates", name, shape) for name in names}
    rows = {
        name: {
            "extra peak MB": f"{peak / MEGABYTE:,.0f}",
            f"more than {BASE}, in [B,T,V]": f"{(peak - peaks[BASE]) / shape.wall:+.2f}",
        }
        for name, peak in peaks.items()
    }
    title = f"memory with {shape.vocabulary:,} entries, chunk_mb {shape.chunk_mb}"
    plain_table(f"{title}; one [B,T,V] is {shape.wall / MEGABYTE:,.0f} MB", rows, console)
    return {"shape": asdict(shape), "wall": shape.wall, "extra_peak_bytes": peaks}
