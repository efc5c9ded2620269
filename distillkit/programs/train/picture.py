"""The curves of a run as a PNG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT


def draw_curves(journal: Path, summary: Mapping[str, Any], file: Path) -> None:
    """Loss, and validation accuracy between the student before and the teacher.

    Args:
        journal: a metrics.jsonl.
        summary: a summary.json's content.
        file: the PNG to write.
    """
    rows = read_json_lines(journal, dict[str, float], way_out=WAY_OUT)
    # Fixed margins: a layout that fits itself draws everything twice.
    figure = Figure(figsize=(9, 3.6))
    margins = {"left": 0.095, "right": 0.985, "bottom": 0.14, "top": 0.91, "wspace": 0.26}
    left, right = figure.subplots(1, 2, gridspec_kw=margins)
    losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    left.plot(*zip(*losses, strict=True), color="#8fb3d9", linewidth=0.8)
    left.plot(*zip(*_smooth(losses), strict=True), color="#1f5fa8", linewidth=1.8)
    left.set(xlabel="step", ylabel="loss")
    # A name may hold dollar signs, which are no mathematics.
    left.set_title(summary["name"], parse_math=False)
    measure = "accuracy" if "accuracy" in summary["student_after"] else "nll"
    key = f"validation/{measure}"
    points = [(row["step"], row[key]) for row in rows if key in row]
    if points:
        right.plot(*zip(*points, strict=True), "o-", color="#1f5fa8", label="student, validation")
    for who, colour in (("student_before", "#999999"), ("teacher", "#2b8a3e")):
        if measure in summary[who]:
            label = f"{who.replace('_', ' ')}, test"
            right.axhline(summary[who][measure], color=colour, linestyle="--", label=label)
    if measure in summary["student_after"]:
        value = summary["student_after"][measure]
        right.plot(
            [summary["steps"]],
            [value],
            "*",
            color="#c92a2a",
            markersize=12,
            label="student after, test",
        )
    right.set(xlabel="step", ylabel=measure, xlim=(0, None))
    if right.get_legend_handles_labels()[0]:
        right.legend(fontsize=8, frameon=False)
    figure.savefig(file, dpi=130)


def _smooth(points: list[tuple[int, float]], window: int = 15) -> list[tuple[int, float]]:
    means = []
    for index, (step, _) in enumerate(points):
        near = [value for _, value in points[max(0, index - window + 1) : index + 1]]
        means.append((step, sum(near) / len(near)))
    return means
