"""How time and memory are measured.

Time: contenders, each in a process of its own, take turns, so a machine that slows down slows all
of them, and ratios are taken round by round. Memory: each runs in a fresh process; the number is
the peak of resident memory during the measured section less the resident memory just before it.
Linux resets that peak on request (``/proc/self/clear_refs``), which leaves out
what building the inputs took. A tiny run goes first, so that imports and thread pools are not
counted.

Alone, this file is that fresh process: ``python -m scripts.bench.measure MODULE NAME SHAPE``.
"""

import ctypes
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

THREADS = 2
"""Threads of torch on every side."""


def alternate(
    contenders: Mapping[str, Callable[[], float]], *, rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each contender, run in turns: a, b, c, a, b, c, ...

    Args:
        contenders: each runs once when called and says how many seconds it took.
        rounds: measured turns.
        warmup: turns before them that are not kept.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warmup + rounds):
        for name, run in contenders.items():
            seconds = run()
            if turn >= warmup:
                times[name].append(seconds)
    return times


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile."""
    lower, middle, upper = np.quantile(values, (0.25, 0.5, 0.75))
    return float(lower), float(middle), float(upper)


def ratios(times: Mapping[str, Sequence[float]], *, to: str) -> dict[str, list[float]]:
    """Seconds over those of contender ``to`` in the same round."""
    return {
        name: [own / base for own, base in zip(values, times[to], strict=True)]
        for name, values in times.items()
    }


@contextmanager
def peak_above(found: list[int]) -> Iterator[None]:
    """Append the peak of resident bytes inside above those at entry."""
    gc.collect()
    # What was freed before must not serve the measured section unseen.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    yield
    found.append(_status("VmHWM") - before)


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
