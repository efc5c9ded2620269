"""The picture of ``distillkit study fidelity``."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from distillkit.evaluation.fidelity_study.hypotheses import FIELDS, Outcome, Question
from distillkit.evaluation.fidelity_study.results import Result

COLOURS = ("#1f5fa8", "#c92a2a", "#2b8a3e", "#e8590c", "#9c36b5", "#999999")


def draw_study(
    results: Sequence[Result], answers: Sequence[Outcome], file: Path, *, rule: str
) -> None:
    """Improvement against agreement and against fidelity, one panel for each task and measure.

    Args:
        results: one for each (task, teacher, student, method), of the tasks to be drawn.
        answers: where the correlations over all methods are found.
        file: the PNG to write.
        rule: how the results were selected.
    """
    tasks = dict.fromkeys(result.task for result in results)
    panels = [
        one
        for one in answers
        if one.task in tasks
        and one.method is None
        and one.question in (Question.agreement, Question.fidelity)
    ]
    figure = Figure(figsize=(4.6 * max(1, len(panels)), 4.4), layout="constrained")
    figure.suptitle(f"improvement over SFT, {rule}", fontsize=10)
    methods = list(dict.fromkeys(result.method for result in results))
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        own = [result for result in results if result.task == panel.task]
        for index, method in enumerate(methods):
            points = [
                (getattr(result, FIELDS[panel.question]), result.improvement)
                for result in own
                if result.method == method
            ]
            axes.plot(
                *zip(*((x, y) for x, y in points if x is not None), strict=True),
                "o",
                color=COLOURS[index % len(COLOURS)],
                label=method,
                alpha=0.8,
            )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(f"{panel.task}\n{_words(panel)}", fontsize=9)
        axes.set(xlabel=f"{panel.question} with the teacher, %", ylabel="improvement, points")
        axes.legend(fontsize=8, frameon=False)
    figure.savefig(file, dpi=130, format="png")


def _words(answer: Outcome) -> str:
    found = answer.finding
    between = "" if found.low is None else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return f"Spearman ρ = {found.estimate:+.2f}{between}, n = {found.n}"
