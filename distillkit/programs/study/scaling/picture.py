"""The picture of ``distillkit study scaling``: cells, laws and what was foretold, axis by axis."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.programs.study.scaling.fits import Line
from distillkit.report.style import colour, drawing, plain
from distillkit.statistics.profile import Form

TITLES = {Form.floor: "with a floor", Form.plain: "without a floor"}
BEYOND = 2.5
"""How far above and below all means is still shown."""

ALT = (
    "Both axes logarithmic: means over seeds with their spread against size, the law with its 95 % "
    "band, and at the largest size an open diamond with a bar where the smaller sizes foretold it."
)


def draw(lines: Sequence[Line], curves: Sequence[dict[str, Any]], *, name: str, file: Path) -> None:
    """A row an axis, a column a form, a colour a method.

    Args:
        lines: what was fitted.
        curves: the laws with their bands, as laws.csv has them.
        name: of what was measured.
        file: the PNG.
    """
    axes_of, forms = list(dict.fromkeys(line.axis for line in lines)), list(Form)
    methods = dict.fromkeys(line.method for line in lines)
    tones = {method: colour(at) for at, method in enumerate(methods)}
    with drawing():
        figure = Figure(figsize=(8.2, 3.1 * len(axes_of)), layout="constrained")
        grid = figure.subplots(len(axes_of), len(forms), squeeze=False, sharey="row")
        for axis, row in zip(axes_of, grid, strict=True):
            for form, panel in zip(forms, row, strict=True):
                own = [line for line in lines if (line.axis, line.law.form) == (axis, form)]
                for line in own:
                    _draw(panel, line, [each for each in curves if _is(each, line)], tones)
                _dress(panel, own)
                panel.set_title(f"law {TITLES[form]}")
                panel.set(xlabel=axis, ylabel=name)
        figure.savefig(file, dpi=140, format="png")


def _dress(axes: Axes, lines: Sequence[Line]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(lines[0].sizes)
    means = [float(np.mean(each)) for line in lines for each in line.values]
    if min(means) > 0:
        axes.set_yscale("log")
        # Intervals may reach down to nothing.
        axes.set_ylim(min(means) / BEYOND, max(means) * BEYOND)
    plain(axes.xaxis, axes.yaxis)
    axes.legend(frameon=False)


def _is(row: dict[str, Any], line: Line) -> bool:
    return (row["axis"], row["method"], row["form"]) == (line.axis, line.method, line.law.form)


def _draw(axes: Axes, line: Line, curve: Sequence[dict[str, Any]], tones: dict[str, str]) -> None:
    tone = tones[line.method]
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
