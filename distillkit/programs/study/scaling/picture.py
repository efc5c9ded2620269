"""The picture of ``distillkit study scaling``: cells, laws and what was foretold, axis by axis."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.programs.study.scaling.fits import Line
from distillkit.report.style import colour, drawing, plain

ALT = (
    "Both axes logarithmic: means over seeds with their spread against size, the law with its 95 % "
    "band, and at the largest size an open diamond with a bar where the smaller sizes foretold it."
)


def draw(lines: Sequence[Line], curves: Sequence[dict[str, Any]], *, name: str, file: Path) -> None:
    """A panel an axis and form, a colour a method.

    Args:
        lines: what was fitted.
        curves: the laws with their bands, as laws.csv has them.
        name: of what was measured.
        file: the PNG.
    """
    panels = list(dict.fromkeys((line.law.form, line.axis) for line in lines))
    methods = list(dict.fromkeys(line.method for line in lines))
    columns = len({axis for _, axis in panels})
    with drawing():
        figure = Figure(figsize=(1 + 3.6 * columns, 6.2), layout="constrained")
        grid = figure.subplots(2, columns, squeeze=False, sharey=True)
        for axes, (form, axis) in zip(grid.flat, panels, strict=True):
            for line in lines:
                if (line.law.form, line.axis) == (form, axis):
                    at = methods.index(line.method)
                    _draw(axes, line, [row for row in curves if _is(row, line)], colour(at))
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(
                sorted({size for line in lines if line.axis == axis for size in line.sizes})
            )
            plain(axes.xaxis, axes.yaxis)
            axes.set_title(f"law with a floor, {axis}" if form == "floor" else f"without, {axis}")
            axes.set(xlabel=axis, ylabel=name)
            axes.legend(frameon=False)
        figure.savefig(file, dpi=140, format="png")


def _is(row: dict[str, Any], line: Line) -> bool:
    return (row["axis"], row["method"], row["form"]) == (line.axis, line.method, line.law.form)


def _draw(axes: Axes, line: Line, curve: Sequence[dict[str, Any]], tone: str) -> None:
    means = [float(np.mean(each)) for each in line.values]
    spreads = [float(np.std(each, ddof=1)) for each in line.values]
    axes.errorbar(line.sizes, means, spreads, fmt="o", markersize=4, color=tone, label=line.method)
    places, law = [row["size"] for row in curve], [row["law"] for row in curve]
    axes.plot(places, law, color=tone, linewidth=1)
    low, high = [row["low"] for row in curve], [row["high"] for row in curve]
    axes.fill_between(places, low, high, color=tone, alpha=0.15, linewidth=0)
    told = line.told
    if told is None:
        return
    bars = None
    if told.low is not None and told.high is not None:
        bars = [[told.value - told.low], [told.high - told.value]]
    axes.errorbar(
        [line.sizes[-1]],
        [told.value],
        bars,
        fmt="D",
        markersize=6,
        markerfacecolor="none",
        capsize=3,
        color=tone,
        alpha=0.7,
    )
