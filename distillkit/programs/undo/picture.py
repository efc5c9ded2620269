"""Accuracy by iteration, with the controls, as a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from distillkit.report.style import LIGHT, colour, drawing, percent

TITLES = {"validation": "validation (chooses)", "test": "test", "elsewhere": "elsewhere"}
LINES = ("iteration", "untargeted", "length-matched")
"""Rows that come round by round, by the beginning of their names."""


def draw_iterations(summary: Mapping[str, Any], file: Path) -> None:
    """One panel a split: UNDO and its controls by round, one-shot as a level line.

    Args:
        summary: what ``summary.json`` holds.
        file: the PNG to write.
    """
    rows = summary["rows"]
    splits = [split for split in TITLES if split in rows[0]["accuracy"]]
    with drawing():
        figure = Figure(figsize=(3.6 * len(splits), 3.5), layout="constrained")
        panels = figure.subplots(1, len(splits), squeeze=False)[0]
        for axes, split in zip(panels, splits, strict=True):
            _draw(axes, rows, split, returned=summary["returned"])
            axes.set(title=TITLES[split], xlabel="iteration", ylim=(0, None))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            percent(axes.yaxis)
        panels[0].set_ylabel("accuracy")
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=6,
            frameon=False,
        )
        figure.savefig(file, dpi=150)


def _draw(axes: Axes, rows: Sequence[Mapping[str, Any]], split: str, *, returned: str) -> None:
    named = {row["name"]: row["accuracy"][split] for row in rows}
    axes.axhline(named["start"]["value"], color=LIGHT["muted"], linestyle=":", label="start")
    if "one-shot" in named:
        axes.axhline(
            named["one-shot"]["value"], color=colour(1), linestyle="--", label="one-shot, all steps"
        )
    for index, line in enumerate(LINES):
        points = [
            (int(name.rpartition("-")[2]), share)
            for name, share in named.items()
            if name.rpartition("-")[0] == line
        ]
        if not points:
            continue
        if line != "iteration":
            points.insert(0, (0, named["iteration-0"]))
        x = [number + 0.04 * (index - 1) for number, _ in points]
        values = [share["value"] for _, share in points]
        reach = [
            [share["value"] - share["low"] for _, share in points],
            [share["high"] - share["value"] for _, share in points],
        ]
        label = "UNDO" if line == "iteration" else line
        tone = colour((0, 2, 3)[index])
        axes.errorbar(x, values, yerr=reach, fmt="o-", color=tone, label=label, capsize=2)
    chosen = int(returned.rpartition("-")[2])
    axes.plot(
        [chosen - 0.04],
        [named[returned]["value"]],
        "*",
        color=LIGHT["ink"],
        markersize=11,
        label="returned",
        zorder=5,
    )
