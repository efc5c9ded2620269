"""Pictures of ``distillkit study fidelity run``: gain against likeness, and what noise does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillkit.report.style import LIGHT, SERIES

MARKERS = "os^Dv<>P"

PANELS = {
    "agreement": "agreement with the teacher, %",
    "agreement_teacher_wrong": "the same where the teacher is wrong, %",
    "bleu": "BLEU to the teacher's rationale",
    "kl": "KL(teacher || student), nats a token",
}

Line = Mapping[str, Any]


def draw_paradox(found: Mapping[str, Any], file: Path) -> None:
    """Gain against each measure of likeness: colours are tasks, shapes teachers; means over seeds.

    Args:
        found: the summary of the study.
        file: the PNG to write.
    """
    grid = found["grid"]
    lines = [
        line for line in found["means"] if all(line[name] == value for name, value in grid.items())
    ]
    rho = {line["measure"]: line["spearman"] for line in found["together"]}
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    figure.suptitle(
        f"gain over SFT against likeness to the teacher, {found['selection']}; ρ is over all "
        "tasks, each less its mean",
        fontsize=10,
    )
    for place, (measure, label) in enumerate(PANELS.items()):
        axes = figure.add_subplot(1, len(PANELS), place + 1)
        _scatter(axes, lines, measure)
        axes.axhline(0, color=LIGHT["ink"], linewidth=0.8)
        axes.set(xlabel=label, ylabel="gain over SFT, points")
        if measure in rho and rho[measure]["estimate"] is not None:
            axes.set_title(_words(rho[measure]), fontsize=9)
        if place == 0:
            axes.legend(fontsize=7, frameon=False)
    figure.savefig(file, dpi=110, format="png")


def _scatter(axes: Axes, lines: Sequence[Line], measure: str) -> None:
    tasks = list(dict.fromkeys(line["task"] for line in lines))
    teachers = list(dict.fromkeys(line["teacher"] for line in lines))
    for line in lines:
        if line[measure] is None:
            continue
        colour = LIGHT[SERIES[tasks.index(line["task"]) % len(SERIES)]]
        marker = MARKERS[teachers.index(line["teacher"]) % len(MARKERS)]
        x, y = line[measure], line["gain"]
        axes.plot(x, y, marker, color=colour, alpha=0.85)
        if line["gain_low"] is not None:
            axes.vlines(x, line["gain_low"], line["gain_high"], color=colour, alpha=0.25)
    for place, task in enumerate(tasks):
        axes.plot([], [], "s", color=LIGHT[SERIES[place % len(SERIES)]], label=task)
    for place, teacher in enumerate(teachers):
        marker = MARKERS[place % len(MARKERS)]
        axes.plot([], [], marker, color=LIGHT["muted"], label=f"teacher {teacher}")


def draw_ablation(found: Mapping[str, Any], file: Path) -> None:
    """Accuracy, agreement and BLEU by temperature and by noise, for each task; SFT dotted.

    Args:
        found: the summary of the study.
        file: the PNG to write.
    """
    grid, lines = found["grid"], found["departures"]
    tasks = list(dict.fromkeys(line["task"] for line in lines))
    figure = Figure(figsize=(9, 3.6 * len(tasks)), layout="constrained")
    for row, task in enumerate(tasks):
        for column, (name, other) in enumerate((("tau", "noise"), ("noise", "tau"))):
            axes = figure.add_subplot(len(tasks), 2, 2 * row + column + 1)
            own = [line for line in lines if line["task"] == task and line[other] == grid[other]]
            own.sort(key=lambda line: float(line[name]))
            for role, measure in (("c0", "accuracy"), ("c1", "agreement"), ("c2", "bleu")):
                values = [line[measure] for line in own]
                axes.plot([line[name] for line in own], values, "o-", color=LIGHT[role])
                axes.plot([], [], "-", color=LIGHT[role], label=measure)
            axes.axhline(own[0]["sft_accuracy"], color=LIGHT["c0"], linestyle=":", label="SFT")
            axes.set(title=task, xlabel=f"{name} ({other} {grid[other]:g})", ylabel="%")
            axes.legend(fontsize=7, frameon=False)
    figure.savefig(file, dpi=110, format="png")


def _words(rho: Mapping[str, Any]) -> str:
    between = "" if rho["low"] is None else f" [{rho['low']:+.2f}, {rho['high']:+.2f}]"
    return f"Spearman ρ = {rho['estimate']:+.2f}{between}, n = {rho['n']}"
