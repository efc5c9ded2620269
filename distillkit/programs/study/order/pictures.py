"""The pictures of the study, from the rows of its csv files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.core.files import new_file
from distillkit.report.style import LIGHT, SERIES, drawing, spread

Row = dict[str, Any]


def draw_equal(summary: Mapping[str, Any], file: Path) -> None:
    """A panel for whatever is equal: each method's mean with its interval, and dots for seeds."""
    regimes = list(dict.fromkeys(row["equal"] for row in summary["equal"]))
    methods = list(dict.fromkeys(row["method"] for row in summary["equal"]))
    with drawing():
        figure = Figure(
            figsize=(3.6 * len(regimes) + 1, 0.4 * len(methods) + 1.4), layout="constrained"
        )
        panels = figure.subplots(1, len(regimes), sharex=True, sharey=True, squeeze=False)[0]
        for axes, regime in zip(panels, regimes, strict=True):
            rows = [row for row in summary["equal"] if row["equal"] == regime]
            _draw_means(axes, rows, methods, summary)
            axes.set_title(f"equal {regime}")
            axes.set_xlabel(summary["measure"])
        panels[0].set_yticks(range(len(methods)), methods)
        panels[0].invert_yaxis()
        with new_file(file) as partial:
            figure.savefig(partial, dpi=140, format="png")


def _draw_means(
    axes: Axes, rows: Sequence[Row], methods: Sequence[str], summary: Mapping[str, Any]
) -> None:
    axes.axvline(summary["start"], color=LIGHT["muted"], linestyle=":", linewidth=1)
    for row in rows:
        place, colour = methods.index(row["method"]), _colour(methods.index(row["method"]))
        each = [row[f"seed_{seed}"] for seed in summary["seeds"]]
        axes.plot(each, [place + 0.22] * len(each), ".", color=colour, markersize=3)
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place] * 2, color=colour, linewidth=1.5)
        axes.plot(row["mean"], place, "o", color=colour)
        told = f"{row['steps']} steps"
        axes.annotate(
            told,
            (1, place),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=6,
        )


def draw_labels(summary: Mapping[str, Any], file: Path) -> None:
    """Scores against labels: a line a method, level and dashed for those that read none."""
    methods = list(dict.fromkeys(row["method"] for row in summary["labels"]))
    ends: dict[str, float] = {}
    with drawing():
        figure = Figure(figsize=(7, 4.4), layout="constrained")
        axes = figure.subplots()
        ticks: set[float] = set()
        for place, method in enumerate(methods):
            own = [row for row in summary["labels"] if row["method"] == method]
            ends[method] = own[-1]["mean"]
            if not own[0]["read"]:
                axes.axhline(ends[method], color=_colour(place), linestyle="--", linewidth=1)
                continue
            read = [row["read"] for row in own]
            ticks |= set(read)
            axes.plot(read, [row["mean"] for row in own], color=_colour(place), marker="o")
            for row in own:
                each = [row[f"seed_{seed}"] for seed in summary["seeds"]]
                axes.plot([row["read"]] * len(each), each, ".", color=_colour(place), markersize=3)
        axes.axhline(summary["start"], color=LIGHT["muted"], linestyle=":", linewidth=1)
        if ticks:
            axes.set_xscale("log")
            axes.set_xticks(sorted(ticks), [f"{tick:,.0f}" for tick in sorted(ticks)])
            axes.set_xticks([], minor=True)
        axes.set(xlabel="gold labels (dashed: methods that read none)", ylabel=summary["measure"])
        _name_lines(axes, ends | {"student before": summary["start"]})
        with new_file(file) as partial:
            figure.savefig(partial, dpi=140, format="png")


def draw_gkd(summary: Mapping[str, Any], file: Path) -> None:
    """Gain over the student before against lambda, a line a divergence; the paper's beside it."""
    with drawing():
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        panels = figure.subplots(1, 2)
        columns = list(dict.fromkeys(row["divergence"] for row in summary["gkd"]))
        for axes, key in zip(panels, ("gain", "published_gain"), strict=True):
            for place, column in enumerate(columns):
                rows = [
                    row
                    for row in summary["gkd"]
                    if row["divergence"] == column and row[key] is not None
                ]
                places = [row["lambda"] for row in rows]
                axes.plot(
                    places,
                    [row[key] for row in rows],
                    marker="o",
                    color=_colour(place),
                    label=column,
                )
                if key == "gain" and all(row["gain_low"] is not None for row in rows):
                    ends = [[row[end] for row in rows] for end in ("gain_low", "gain_high")]
                    axes.fill_between(places, *ends, color=_colour(place), alpha=0.08, linewidth=0)
            axes.set_xlabel("lambda")
        panels[0].set_title(f"gain over the student before ({summary['measure']})")
        panels[1].set_title("the paper's: T5-base on GSM8K, points")
        panels[0].legend(frameon=False)
        with new_file(file) as partial:
            figure.savefig(partial, dpi=140, format="png")


def _colour(place: int) -> str:
    return LIGHT[SERIES[place % len(SERIES)]]


def _name_lines(axes: Axes, ends: Mapping[str, float]) -> None:
    """Names beside the lines' right ends, moved up where they would lie on each other."""
    low, high = axes.get_ylim()
    named = sorted(ends.items(), key=lambda each: each[1])
    places = spread([(end - low) / (high - low) for _, end in named], 1 / 25)
    for (name, end), place in zip(named, places, strict=True):
        at = list(ends).index(name)
        colour = LIGHT["muted"] if at == len(ends) - 1 else _colour(at)
        axes.annotate(
            name,
            (1, end),
            xytext=(1.06, place),
            xycoords=("axes fraction", "data"),
            textcoords="axes fraction",
            color=colour,
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5)},
        )
