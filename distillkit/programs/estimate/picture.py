"""The picture of ``distillkit estimate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.evaluation.tally import EstimateRow

COLOURS = {
    "teacher_top_k": "#2b8a3e",
    "student_top_k": "#1f5fa8",
    "sampled": "#999999",
    "k1": "#e8590c",
    "k2": "#9c36b5",
    "k3": "#c92a2a",
}

ASIDE = {"k1": 0.92, "k2": 1.0, "k3": 1.09}
"""Shifts that keep equal points apart on a logarithmic axis."""


def draw_estimate(rows: Sequence[EstimateRow], file: Path, *, title: str) -> None:
    """Bias of the value, and cosine of the gradient, against entries kept or tokens drawn.

    Args:
        rows: of the comparison, the dense one first.
        file: the PNG to write.
        title: over the left half.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour in COLOURS.items():
        own = [row for row in rows if row.estimator == name]
        if not own:
            continue
        if own[0].draws is not None:
            _draw_random(left, right, own, colour)
        elif own[0].k is not None:
            sizes = [_plain(row.k) for row in own]
            left.plot(sizes, [row.bias for row in own], "o-", color=colour, label=name)
            right.plot(sizes, [_plain(row.expected_cosine) for row in own], "o-", color=colour)
        else:
            left.axhline(own[0].bias, color=colour, linestyle=":", label=name)
            right.axhline(_plain(own[0].expected_cosine), color=colour, linestyle=":")
    left.axhline(0, color="black", linewidth=0.8)
    right.axhline(1, color="black", linewidth=0.8)
    axis = "entries kept (top k) or tokens drawn (k1 to k3)"
    # Half the squared log ratio may miss by many times the value itself.
    left.set_yscale("symlog", linthresh=0.1)
    left.margins(y=0.1)
    left.set(xscale="log", xlabel=axis, ylabel="bias of the value, nats", title=title)
    right.set(
        xscale="log",
        xlabel=axis,
        ylabel="cosine with the dense gradient",
        title="filled: one draw; hollow: expected",
    )
    left.legend(fontsize=8, frameon=False)
    figure.savefig(file, dpi=130, format="png")


def _draw_random(left: Axes, right: Axes, rows: Sequence[EstimateRow], colour: str) -> None:
    style: dict[str, Any] = {"color": colour, "capsize": 3}
    aside = ASIDE[rows[0].estimator]
    draws, expected, bias, error, cosine, spread = zip(
        *(
            (
                _plain(row.draws) * aside,
                _plain(row.expected_cosine),
                row.bias,
                _plain(row.bias_error),
                _plain(row.draw_cosine),
                _plain(row.draw_cosine_spread),
            )
            for row in rows
        ),
        strict=True,
    )
    left.errorbar(draws, bias, yerr=error, fmt="s--", label=rows[0].estimator, **style)
    right.errorbar(draws, cosine, yerr=spread, fmt="s", **style)
    right.plot(draws, expected, "s--", color=colour, fillstyle="none")


def _plain(number: float | None) -> float:
    """NaN, which matplotlib leaves out, for a number that has no meaning."""
    return float("nan") if number is None else number
