"""The picture of ``distillkit study explanation mixture``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from distillkit.evaluation.explanation_study.mixture import Mixture, truth
from distillkit.evaluation.explanation_study.precision_recall import Fitted, fitted
from distillkit.report.style import LIGHT, drawing, plain
from distillkit.run_studies import MixtureStudy

SHOWN = 1500
"""Points of the truth in the panels of fits."""


def draw_mixture(run: MixtureStudy, rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Precision and recall against beta, against each other, and the fits of the first seed."""
    with drawing():
        figure = Figure(figsize=(13, 3.8), layout="constrained")
        against, curve, *fits = figure.subplots(1, 5)
        _draw_against(against, rows)
        _draw_curve(curve, rows)
        _, students = fitted(run.levels, run.betas, run.seeds[0])
        sharpest = max(students[1:], key=lambda each: each.beta or 0)
        real = truth(run.levels.variance, run.levels.ratio)
        for axes, student in zip(fits, (students[0], students[1], sharpest), strict=True):
            _draw_fit(axes, real, student)
        figure.savefig(file, dpi=140, format="png")


def _means(rows: Sequence[dict[str, Any]], name: str) -> tuple[list[float], np.ndarray, np.ndarray]:
    betas = sorted({row["beta"] for row in rows if row["beta"] is not None})
    each = [[row[name] for row in rows if row["beta"] == beta] for beta in betas]
    return betas, np.array([np.mean(own) for own in each]), np.array([np.std(own) for own in each])


def _draw_against(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for name, colour in (("precision", LIGHT["c0"]), ("recall", LIGHT["c1"])):
        betas, mean, spread = _means(rows, name)
        axes.plot(betas, mean, color=colour, marker="o", markersize=3, label=name)
        axes.fill_between(betas, mean - spread, mean + spread, color=colour, alpha=0.15)
        direct = np.mean([row[name] for row in rows if row["beta"] is None])
        axes.axhline(direct, color=colour, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=5)
    plain(axes.xaxis, axes.yaxis)
    axes.set(xlabel="beta (dotted: direct student)", ylabel="nats a point")
    axes.set_title("what a sharper teacher does")
    axes.legend(frameon=False)


def _draw_curve(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    betas, precision, _ = _means(rows, "precision")
    _, recall, _ = _means(rows, "recall")
    axes.plot(recall, precision, color=LIGHT["muted"], linewidth=1)
    _, entropy, _ = _means(rows, "teacher_entropy")
    dots = axes.scatter(recall, precision, c=entropy, cmap="viridis", zorder=3)
    for beta, x, y in zip(betas, recall, precision, strict=True):
        axes.annotate(f"{beta:g}", (x, y), xytext=(3, 3), textcoords="offset points", fontsize=7)
    axes.figure.colorbar(dots, ax=axes, label="entropy of the teacher's weights")
    axes.set_xscale("symlog", linthresh=5)
    plain(axes.xaxis)
    axes.set(xlabel="recall", ylabel="precision")
    axes.set_title("the trade, by beta")


def _draw_fit(axes: Axes, real: Mixture, fit: Fitted) -> None:
    points = real.sample(SHOWN, np.random.default_rng(0))
    axes.plot(*points.T, ".", color=LIGHT["rule"], markersize=2)
    if fit.beta is not None:
        _draw_components(axes, fit.teacher, LIGHT["c0"])
    _draw_components(axes, fit.student, LIGHT["c1"])
    named = "direct student" if fit.beta is None else f"student of beta {fit.beta:g}"
    axes.set_title(named)
    axes.set(xlim=(-1.9, 1.9), ylim=(-1.9, 1.9), aspect="equal")
    axes.set_xlabel("truth, teacher (blue), student (red)", fontsize=7)


def _draw_components(axes: Axes, mixture: Mixture, colour: str) -> None:
    """Two standard deviations of each; the lighter, the less weight."""
    for weight, mean, variance in zip(
        mixture.weights, mixture.means, mixture.variances, strict=True
    ):
        width, height = 4 * np.sqrt(variance)
        alpha = float(0.15 + 0.85 * min(1, weight * len(mixture.weights)))
        axes.add_patch(Ellipse(tuple(mean), width, height, fill=False, color=colour, alpha=alpha))
