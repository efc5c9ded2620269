"""Tables on the terminal, one JSON file a benchmark, one picture of all of them."""

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import nan
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from distillkit.core.provenance import processor
from scripts.bench.compare import OURS, Comparison
from scripts.bench.measure import THREADS, quartiles

PACKAGES = ("distillkit", "torch", "transformers", "trl", "accelerate", "liger_kernel", "numpy")
MEGABYTE = 1e6
MULTIPLIERS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16")
"""Instruction sets that products are made of."""


def comparison_table(title: str, result: Comparison, console: Console) -> None:
    """Seconds, memory, and both over the base's; above 1 is slower or larger than that."""
    over_base = f"over {result.base}"
    heads = ("", "seconds", "quartiles", over_base, "quartiles")
    table = Table(*heads, title=title, caption=machine())
    table.add_column("extra peak MB")
    table.add_column(over_base)
    times, memory, over = result.time_ratios(), result.memory(), result.memory_ratios()
    for name, values in result.seconds.items():
        lower, middle, upper = quartiles(values)
        low, ratio, high = times[name]
        table.add_row(
            name,
            f"{middle:.3f}",
            f"{lower:.3f}-{upper:.3f}",
            f"{ratio:.2f}",
            f"{low:.2f}-{high:.2f}",
            f"{memory[name] / MEGABYTE:,.0f}" if name in memory else "-",
            f"{over[name]:.2f}" if name in over else "-",
        )
    console.print(table)
    for name, why in result.skipped.items():
        console.print(f"{name} skipped: {why}", highlight=False)


def plain_table(title: str, rows: Mapping[str, Mapping[str, str]], console: Console) -> None:
    """One row for each key, one column for each key of the first row."""
    table = Table("", *next(iter(rows.values())), title=title, caption=machine())
    for name, cells in rows.items():
        table.add_row(name, *cells.values())
    console.print(table)


def machine() -> str:
    """The processor, and what it multiplies with: ratios move with both."""
    has = torch.cpu.get_capabilities()
    return ", ".join([processor(), *(name for name in MULTIPLIERS if has.get(name))])


def environment() -> dict[str, Any]:
    """Hardware, date and versions, without names or places of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": machine(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "memory_gb": round(memory / 1e9, 1),
        "busy_cores_before": busy_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def busy_cores(seconds: float = 1.0, stat: Path = Path("/proc/stat")) -> float:
    """How many cores are kept busy just now, waiting that long; 0 where nobody says."""
    try:
        told = []
        for pause in (0.0, seconds):
            time.sleep(pause)
            line, *_ = stat.read_text(encoding="ascii").splitlines()
            told.append([int(each) for each in line.split()[1:]])
    except OSError:
        return 0.0
    passed = [after - before for before, after in zip(*told, strict=True)]
    # Ticks without work, and those that waited for a disk.
    idle = passed[3] + passed[4]
    return (os.cpu_count() or 1) * (1 - idle / sum(passed)) if sum(passed) else 0.0


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write(folder: Path, name: str, result: Comparison, surroundings: dict[str, Any]) -> Path:
    """All raw numbers of one benchmark as ``<name>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    ratios = {"time_over_ours": result.time_ratios(), "memory_over_ours": result.memory_ratios()}
    content = {"benchmark": name, "environment": surroundings, **asdict(result), **ratios}
    file = folder / f"{name}.json"
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return file


def picture(folder: Path) -> Path:
    """Bars of time and memory over ours, from every JSON file in the folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars: list[tuple[str, float, float]] = []
    for file in sorted(folder.glob("*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        memory, base = found["memory_over_ours"], found.get("base", OURS)
        over = "" if base == OURS else f" over {base}"
        bars += [
            (f"{found['benchmark']}: {name}{over}", time[1], memory.get(name, nan))
            for name, time in found["time_over_ours"].items()
            if name != base
        ]
    figure, axes = pyplot.subplots(
        1, 2, figsize=(10, 1.2 + 0.4 * len(bars)), sharey=True, layout="constrained"
    )
    for axis, column, title in zip(axes, (1, 2), ("time", "extra peak memory"), strict=True):
        drawn = axis.barh([bar[0] for bar in bars], [bar[column] for bar in bars], color="#4c72b0")
        axis.bar_label(drawn, fmt="%.2f", padding=3)
        axis.axvline(1, color="black", linewidth=1)
        axis.set_title(f"{title} over distillkit's")
        axis.margins(x=0.15)
    axes[0].invert_yaxis()
    target = folder / "ratios.png"
    figure.savefig(target, dpi=120)
    pyplot.close(figure)
    return target
