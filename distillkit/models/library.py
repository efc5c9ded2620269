"""Which library multiplies fp32 matrices on a CPU: oneDNN, or the BLAS that torch was built with.

Neither is the faster one everywhere: with AVX-512 oneDNN takes half of MKL's time on an AMD
processor, without it nearly all of it, and small products are over in MKL before oneDNN has begun.
So every kind of product is timed once with both, small and large, and steps of decoding also with
weights of megabytes: on an Intel processor MKL is the faster one for less, and takes twice oneDNN's
time for those. What was chosen is kept for the processor in the user's cache, and recorded by runs,
since the two add up in different orders: a run goes on with the library that it began with.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.core.provenance import processor


class Kind(StrEnum):
    """What is multiplied."""

    forward = "forward"
    """Many rows of states with weights."""
    by_input = "gradient by input"
    by_weight = "gradient by weight"
    step = "step of decoding"
    """A few rows with weights that were laid out beforehand."""


class Library(StrEnum):
    """Who multiplies."""

    onednn = "onednn"
    blas = "blas"


Choice = dict[str, Library]
"""By kind and size, as :func:`_name` puts them."""

HERE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether there is oneDNN at all."""
FEW, SMALL, WIDE = 8, 1 << 20, 1 << 23
"""Rows of a step of decoding, and multiplications below which a product is small, or a step is not
wide."""
SIZES = {"small": (64, 16, 32), "large": (256, 256, 512), "wide": (FEW, 1024, 2048)}
"""Rows, width and height of the products that are timed; those of decoding have fewer rows."""
TURNS = 40
CLEARLY = 0.9
"""Part of oneDNN's time below which the BLAS is chosen: what is nearly equal must not depend on
what else the machine did."""

_chosen: Choice | None = None


def settle(recorded: Mapping[str, str] | None = None) -> dict[str, str]:
    """Choose for this process, and say what was chosen.

    Args:
        recorded: what a run says that it began with; None to take what is kept for this processor,
            or to measure.
    """
    global _chosen
    if HERE:
        _chosen = _read_from(recorded or {}) or _kept()
    else:
        _chosen = dict.fromkeys(NAMES, Library.blas)
    return {name: str(library) for name, library in _chosen.items()}


def onednn(kind: Kind, multiplications: int) -> bool:
    """Whether a product of this kind is oneDNN's."""
    if _chosen is None:
        settle()
    assert _chosen is not None
    size = "small" if multiplications < SMALL else "large"
    if kind is Kind.step and multiplications >= WIDE:
        size = "wide"
    return _chosen[_name(kind, size)] is Library.onednn


def _name(kind: Kind, size: str) -> str:
    return f"{kind}, {size}"


TIMED = {
    _name(kind, size): (kind, size)
    for size in SIZES
    for kind in Kind
    if kind is Kind.step or size != "wide"
}
NAMES = list(TIMED)


@cache
def _kept() -> Choice:
    """What the first process measured that ran with this processor and torch."""
    told = [processor(), torch.backends.cpu.get_cpu_capability(), torch.__version__]
    told.append(os.environ.get("ONEDNN_MAX_CPU_ISA", ""))
    place = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "distillkit"
    file = place / f"products-{sha256(json.dumps(told).encode()).hexdigest()[:16]}.json"
    if (found := _read(file)) is not None:
        return found
    with _alone():
        measured = {name: _faster(*timed) for name, timed in TIMED.items()}
    # Where nothing can be kept, what was measured is still right.
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=place, encoding="utf-8") as written:
            json.dump({"measured_with": told, "chosen": measured}, written, indent=1)
            written.flush()
            # What says nothing makes room; of processes that measure at once one is first, and all
            # take what it found.
            if _read(file) is None:
                file.unlink(missing_ok=True)
            with suppress(FileExistsError):
                os.link(written.name, file)
    return _read(file) or measured


def _read(file: Path) -> Choice | None:
    """What is not there or not readable is measured again."""
    try:
        return _read_from(json.loads(file.read_text(encoding="utf-8"))["chosen"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _read_from(told: Mapping[str, str]) -> Choice | None:
    """None where an earlier version knew other kinds, or none."""
    known = all(told.get(name) in tuple(Library) for name in NAMES)
    return {name: Library(told[name]) for name in NAMES} if known else None


@contextmanager
def _alone() -> Iterator[None]:
    """With one thread: several wait for each other where other work runs, and time says nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _faster(kind: Kind, size: str) -> Library:
    """Who takes less time for one kind of product, in turns."""
    ways, seconds = _ways(kind, *SIZES[size]), dict.fromkeys(Library, float("inf"))
    with torch.no_grad():
        for turn in range(TURNS + 1):
            for library, way in ways.items():
                start = time.perf_counter()
                way()
                if turn:
                    passed = time.perf_counter() - start
                    seconds[library] = min(seconds[library], passed)
    clearly = seconds[Library.blas] < CLEARLY * seconds[Library.onednn]
    return Library.blas if clearly else Library.onednn


def _ways(kind: Kind, rows: int, width: int, height: int) -> dict[Library, Callable[[], Tensor]]:
    states, weight = torch.ones(rows, width), torch.ones(height, width)
    slope, few = torch.ones(rows, height), torch.ones(FEW, width)
    product = torch.ops.mkldnn._linear_pointwise

    def through(left: Tensor, right: Tensor) -> Tensor:
        return product(left, right, None, "none", [], "")

    match kind:
        case Kind.forward:
            ways = lambda: through(states, weight), lambda: functional.linear(states, weight)
        case Kind.by_input:
            ways = lambda: through(slope, weight.T), lambda: slope @ weight
        case Kind.by_weight:
            ways = lambda: through(states.T.contiguous(), slope.T).T, lambda: slope.T @ states
        case Kind.step:
            ordered = torch.ops.mkldnn._reorder_linear_weight(weight, None)
            ways = lambda: through(few, ordered), lambda: functional.linear(few, weight)
    return dict(zip(Library, ways, strict=True))
