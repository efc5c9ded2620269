"""The tables of the study as cells of text, for the terminal and as Markdown, from its summary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from distillkit.core.terminal import of_numbers, tight_table

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: what it shows, and its cells."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[Sequence[str]]

    def rich(self) -> Table:
        """For the terminal."""
        table = tight_table(self.title, *of_numbers(*self.heads))
        table.columns[0].justify = "left"
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """As Markdown, the title above."""
        lines = [self.heads, ["---"] * len(self.heads), *self.rows]
        return f"{self.title}:\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sheets(summary: Mapping[str, Any]) -> Iterator[Sheet]:
    """All tables of a study."""
    costs = {(row["equal"], row["method"]): row for row in summary["costs"]}
    base = {row["method"]: row for row in summary["equal"] if row["equal"] == "steps"}
    for equal in dict.fromkeys(row["equal"] for row in summary["equal"]):
        rows = [row for row in summary["equal"] if row["equal"] == equal]
        if equal != "steps" and all(row["steps"] == base[row["method"]]["steps"] for row in rows):
            continue
        yield _equal(summary, equal, rows, costs)
    if any(row["labels"] != "all" for row in summary["labels"]):
        yield _labels(summary)
    if summary["gkd"]:
        yield _gkd(summary)


def notes(summary: Mapping[str, Any]) -> Iterator[str]:
    """What the tables leave out."""
    base = {row["method"]: row["steps"] for row in summary["equal"] if row["equal"] == "steps"}
    for equal in dict.fromkeys(row["equal"] for row in summary["equal"]):
        rows = {row["method"]: row["steps"] for row in summary["equal"] if row["equal"] == equal}
        if equal != "steps" and rows == base:
            yield f"Equal {equal} are equal steps here: the same runs."
        elif missing := [method for method in base if method not in rows]:
            yield f"No step of {', '.join(missing)} fits into equal {equal}."


def _equal(
    summary: Mapping[str, Any],
    equal: str,
    rows: Sequence[Row],
    costs: Mapping[tuple[str, str], Row],
) -> Sheet:
    heads = ("method", "labels", "teacher wrote, read", "steps", "s", "rate", "seeds", "mean")
    cells = []
    for row in rows:
        cost = costs[equal, row["method"]]
        writing = f" + {cost['writing_seconds']:.0f}" if cost["writing_seconds"] >= 0.5 else ""
        used = [
            f"{cost['gold_labels']:,.0f}",
            f"{cost['teacher_wrote']:,.0f}, {cost['teacher_read']:,.0f}",
            f"{row['steps']}",
            f"{cost['seconds']:.0f}{writing}",
            f"{row['rate']:g}",
        ]
        cells.append([row["method"], *used, *_scores(summary, row), gain(summary, row)])
    title = f"At equal {equal}, {summary['measure']}"
    return Sheet(title, (*heads, f"over {summary['baseline']}"), cells)


def _labels(summary: Mapping[str, Any]) -> Sheet:
    budgets = list(dict.fromkeys(row["labels"] for row in summary["labels"]))
    found = {(row["method"], row["labels"]): row for row in summary["labels"]}
    heads = ["method"]
    for budget in budgets:
        heads += [f"{budget} labels", f"over {summary['baseline']}"]
    cells = []
    for method in dict.fromkeys(row["method"] for row in summary["labels"]):
        own = [found[method, budget] for budget in budgets]
        parts = [[form(summary, row["mean"]), gain(summary, row)] for row in own]
        mark = method if own[0]["read"] else f"{method} (reads none)"
        cells.append([mark, *(cell for part in parts for cell in part)])
    title = f"Under equal budgets of labels, at equal steps, {summary['measure']}"
    return Sheet(title, tuple(heads), cells)


def _gkd(summary: Mapping[str, Any]) -> Sheet:
    columns = list(dict.fromkeys(row["divergence"] for row in summary["gkd"]))
    found = {(row["lambda"], row["divergence"]): row for row in summary["gkd"]}
    cells = [
        [policy, *(_ours_and_theirs(summary, found[policy, column]) for column in columns)]
        for policy in dict.fromkeys(row["lambda"] for row in summary["gkd"])
    ]
    title = "Gain over the student before, by lambda and divergence [GKD's paper, T5-base on GSM8K]"
    return Sheet(title, ("lambda", *columns), cells)


def _scores(summary: Mapping[str, Any], row: Row) -> list[str]:
    each = [form(summary, row[f"seed_{seed}"]) for seed in summary["seeds"]]
    return [", ".join(each), form(summary, row["mean"])]


def _ours_and_theirs(summary: Mapping[str, Any], row: Row) -> str:
    theirs = row["published_gain"]
    return gain(summary, row) + ("" if theirs is None else f" [{theirs:+.1f}]")


def gain(summary: Mapping[str, Any], row: Row) -> str:
    """A difference with its interval; empty where there is none."""
    if row["gain"] is None:
        return ""
    ends = (row["gain_low"], row["gain_high"])
    told = (None if end is None else form(summary, end, sign="+") for end in ends)
    return form(summary, row["gain"], sign="+") + _between(*told)


def form(summary: Mapping[str, Any], value: float, *, sign: str = "") -> str:
    """A score as text: points with one digit, nats with three."""
    return format(value, f"{sign}.1f" if summary["measure"].endswith("%") else f"{sign}.3f")


def _between(low: str | None, high: str | None) -> str:
    return "" if low is None or high is None else f" ({low} to {high})"
