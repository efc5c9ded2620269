"""What ``distillkit study fidelity run`` prints of its summary."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from distillkit.core.terminal import cell, of_numbers, tight_table
from distillkit.evaluation.fidelity_study.hypotheses import Outcome, Question
from distillkit.programs.study.fidelity.verdict import NOTE, verdict
from distillkit.programs.study.tables import gain_table, method_table, relation_table, short_p

Line = Mapping[str, Any]

LIKENESS = {
    "agreement": ("agree", ".1f"),
    "sft_agreement": ("agree\nSFT", ".1f"),
    "bleu": ("BLEU", ".1f"),
    "rouge": ("ROUGE", ".1f"),
    "top1": ("top-1", ".1f"),
    "kl": ("KL", ".3f"),
}


def show(found: Mapping[str, Any], console: Console, *, without: Sequence[str]) -> None:
    """Every table, then what agrees with the paper.

    Args:
        found: the summary.
        console: where to.
        without: the paper's tasks that are not measured.
    """
    told = [Outcome.of(line) for line in found["answers"]]
    paper = [each for each in told if not _is_ranked(each)]
    how = found["selection"]
    grid = [line for line in found["means"] if _in_grid(line, found)]
    console.print(means_table(grid))
    if told:
        console.print(gain_table(paper, how=how))
        console.print(relation_table(paper, how=how))
        if len({line["method"] for line in grid}) > 1:
            console.print(method_table(paper, how=how))
        console.print(rank_table([each for each in told if _is_ranked(each)], how=how))
    if found["together"]:
        console.print(together_table(found["together"]))
    if found["departures"]:
        console.print(departure_table(found["departures"]))
    console.print(NOTE)
    console.print(verdict(found))
    missing = f"; absent: {', '.join(without)}" if without else ""
    console.print(f"The paper's tasks: {14 - len(without)} of 14 measured{missing}.")


def means_table(lines: Sequence[Line]) -> Table:
    """Each student of the grid: means over seeds, and the gain's interval."""
    table = tight_table(
        "Means over seeds, % (KL in nats); gain over SFT with the 95 % interval of t, by seeds",
        *(Column(name, no_wrap=True) for name in ("task", "teacher", "student", "method")),
        *of_numbers("teacher", "SFT", "KD", "gain", "95 % interval"),
        *of_numbers(*(head for head, _ in LIKENESS.values())),
    )
    for line in sorted(lines, key=lambda line: str(line["task"])):
        table.add_row(
            *(str(line[name]) for name in ("task", "teacher", "student", "method")),
            *(cell(line[name], ".1f") for name in ("teacher_accuracy", "sft_accuracy", "accuracy")),
            cell(line["gain"], "+.1f"),
            _between(line, "gain"),
            *(cell(line[name], form) for name, (_, form) in LIKENESS.items()),
        )
    return table


def rank_table(told: Sequence[Outcome], *, how: str) -> Table:
    """Tests of ranks, and Pearson's r: effect size, p, and Holm's p over tasks."""
    heads = {
        (Question.improvement, "Wilcoxon"): "Wilcoxon\nr of gain",
        (Question.teacher, "Kruskal"): "Kruskal ε²\nteachers",
        (Question.size, "Kruskal"): "Kruskal ε²\nstudents",
        (Question.method, "Kruskal"): "Kruskal ε²\nmethods",
        (Question.agreement, "Pearson"): "Pearson\nagreement",
        (Question.fidelity, "Pearson"): "Pearson\nfidelity",
    }
    found = {
        (each.task, (each.question, each.finding.test.split("-")[0].split()[0])): each
        for each in told
    }
    asked = [key for key in heads if any(place == key for _, place in found)]
    title = f"Ranks, and straight lines: effect (p, Holm) ({how})"
    table = tight_table(title, Column(), *of_numbers("n", *(heads[key] for key in asked)))
    for task in dict.fromkeys(task for task, _ in found):
        own = [found.get((task, key)) for key in asked]
        count = next(str(each.finding.n) for each in own if each)
        table.add_row(task, count, *(_effect(each) for each in own))
    return table


def together_table(lines: Sequence[Line]) -> Table:
    """How the gain goes with likeness over all tasks."""
    table = tight_table(
        "The gain and likeness to the teacher, all tasks, each less its mean: 95 % interval (p)",
        Column("measure", no_wrap=True),
        *of_numbers("n", "Spearman ρ", "Pearson r"),
    )
    for line in lines:
        cells = [
            f"{cell(test['estimate'], '+.2f', absent='-')} {_between(test)} ({short_p(test['p'])})"
            for test in (line["spearman"], line["pearson"])
        ]
        table.add_row(line["measure"].replace("_", " "), str(line["spearman"]["n"]), *cells)
    return table


def departure_table(lines: Sequence[Line]) -> Table:
    """Smoothing and noise beside what the grid has."""
    table = tight_table(
        "Ablation: smoothing (tau) and noise on the teacher's logits; change to the grid's own",
        Column("task"),
        *of_numbers("noise", "tau", "SFT", "KD", "gain", "change", "95 % interval", "p"),
        *of_numbers(*(head for head, _ in LIKENESS.values())),
    )
    for line in lines:
        table.add_row(
            line["task"],
            f"{line['noise']:g}",
            f"{line['tau']:g}",
            *(cell(line[name], ".1f") for name in ("sft_accuracy", "accuracy")),
            cell(line["gain"], "+.1f"),
            cell(line["change"], "+.1f"),
            _between(line, "change"),
            short_p(line["change_p"]),
            *(cell(line[name], form) for name, (_, form) in LIKENESS.items()),
        )
    return table


def _is_ranked(answer: Outcome) -> bool:
    return answer.finding.test.startswith(("Wilcoxon", "Kruskal", "Pearson"))


def _in_grid(line: Line, found: Mapping[str, Any]) -> bool:
    return all(line[name] == value for name, value in found["grid"].items())


def _effect(answer: Outcome | None) -> str:
    if answer is None:
        return ""
    told = f"{answer.finding.estimate:+.2f} ({short_p(answer.finding.p)}"
    return f"{told}, {short_p(answer.holm)})"


def _between(line: Line, name: str = "") -> str:
    low, high = (line[f"{name}_{end}" if name else end] for end in ("low", "high"))
    return "" if low is None else f"{low:+.2f} to {high:+.2f}"
