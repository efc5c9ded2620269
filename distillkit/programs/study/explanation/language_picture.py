"""The picture of ``distillkit study explanation language``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.evaluation.explanation_study.trade import Measured
from distillkit.report.style import LIGHT, SERIES, drawing


def draw_language(measured: Sequence[Measured], file: Path) -> None:
    """Both likelihoods against temperature, and against each other with all other ways."""
    with drawing():
        figure = Figure(figsize=(10, 4), layout="constrained")
        against, plane = figure.subplots(1, 2)
        _draw_against(against, measured)
        _draw_plane(plane, measured)
        figure.savefig(file, dpi=140, format="png")


def _draw_against(axes: Axes, measured: Sequence[Measured]) -> None:
    taus = sorted({each.way.tau for each in measured if each.way.tau is not None})
    for name, colour in (("precision", LIGHT["c0"]), ("recall", LIGHT["c1"])):
        each = [[getattr(m, name) for m in measured if m.way.tau == tau] for tau in taus]
        axes.plot(taus, [np.mean(own) for own in each], color=colour, marker="o", label=name)
        for tau, own in zip(taus, each, strict=True):
            axes.plot([tau] * len(own), own, ".", color=colour, markersize=4)
    axes.set(xlabel="temperature of the teacher's text", ylabel="nats a token")
    axes.set_title("what sharper text does (dots: seeds)")
    axes.legend(frameon=False)


def _draw_plane(axes: Axes, measured: Sequence[Measured]) -> None:
    ways = list(dict.fromkeys(each.way for each in measured))
    curve = [way for way in ways if way.tau is not None]
    places = {
        way: np.mean([(m.recall, m.precision) for m in measured if m.way == way], axis=0)
        for way in ways
    }
    ordered = sorted(curve, key=lambda way: way.tau or 0.0)
    line = np.array([places[way] for way in ordered])
    axes.plot(*line.T, color=LIGHT["muted"], marker="o", label="text, by temperature")
    for way, place in zip(ordered, line, strict=True):
        axes.annotate(f"{way.tau:g}", place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    for at, way in enumerate(way for way in ways if way.tau is None):
        colour = LIGHT[SERIES[at % len(SERIES)]]
        own = np.array([(m.recall, m.precision) for m in measured if m.way == way])
        axes.plot(*own.T, ".", color=colour, markersize=3)
        axes.plot(*places[way], "s", color=colour, label=way.name)
    axes.set(xlabel="recall, nats a token", ylabel="precision, nats a token")
    axes.set_title("the trade")
    axes.legend(frameon=False, fontsize=8)
