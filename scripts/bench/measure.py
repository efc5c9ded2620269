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
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

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


def peak_memory(module: str, name: str, shape: Any) -> int:
    """Bytes that a contender of ``scripts.bench.<module>`` needs on top, in a fresh process.

    Raises:
        RuntimeError: the contender failed there.
    """
    command = (sys.executable, "-m", "scripts.bench.measure", module, name)
    done = subprocess.run(
        [*command, json.dumps(asdict(shape))], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"memory of {name} in {module}: {done.stderr[-2000:]}")
    return int(done.stdout.splitlines()[-1])


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


def _measure(module: str, name: str, shape: str) -> int:
    import torch

    torch.set_num_threads(THREADS)
    benchmark = importlib.import_module(f"scripts.bench.{module}")
    with benchmark.built(name, benchmark.TINY) as run:
        run()
    found: list[int] = []
    sizes = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(shape).items()
    }
    with benchmark.built(name, type(benchmark.TINY)(**sizes)) as run, peak_above(found):
        for _ in range(benchmark.MEMORY_RUNS):
            run()
    return found[0]


if __name__ == "__main__":
    print(_measure(*sys.argv[1:]))
