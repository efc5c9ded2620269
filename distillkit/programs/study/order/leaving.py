"""What the study leaves in its folder, and what it prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.core.files import write_csv, write_text
from distillkit.core.rundir import RunDirectory
from distillkit.core.shapes import Shown
from distillkit.programs.study.order.agreement import agreement
from distillkit.programs.study.order.findings import Findings
from distillkit.programs.study.order.pictures import draw_equal, draw_gkd, draw_labels
from distillkit.programs.study.order.tables import form, notes, sheets
from distillkit.run_studies import Equal

TABLES = {"order.csv": "equal", "costs.csv": "costs", "labels.csv": "labels", "gkd.csv": "gkd"}
"""Files of rows, and where the summary has the same; seconds are in ``costs.csv`` alone."""

PICTURES = {"order.png": draw_equal, "labels.png": draw_labels, "gkd.png": draw_gkd}
MARKDOWN = "table.md"

TITLES = {
    "order.csv": "Methods under equal budgets",
    "costs.csv": "What they cost",
    "labels.csv": "Methods by gold labels",
    "gkd.csv": "Divergence by policy",
    "order.png": "Methods under equal budgets",
    "labels.png": "What labels buy",
    "gkd.png": "Divergence by policy",
}
ALTS = {
    "order.png": "Each method's score with its interval, a panel for each kind of equality.",
    "labels.png": "Score against gold labels: a line if a method reads them, else a level.",
    "gkd.png": "Score of each divergence under each policy.",
}


def shown(summary: Mapping[str, Any], folder: Path) -> Shown:
    """What a report shows."""
    return {
        "tables": [
            {"title": TITLES[file], "file": file} for file in TABLES if (folder / file).exists()
        ],
        "pictures": [
            {"title": TITLES[file], "file": file, "alt": ALTS[file]}
            for file in PICTURES
            if (folder / file).exists()
        ],
        "said": [heading(summary), *notes(summary), *summary["agreement"]],
    }


def leave(found: Findings, folder: Path) -> dict[str, Any]:
    """Write tables and pictures; what the summary says of them."""
    base = found.equal[Equal.steps][found.baseline]
    teachers = [
        each.teacher for each in found.equal[Equal.steps].values() if each.teacher is not None
    ]
    summary: dict[str, Any] = {
        "measure": found.measure,
        "baseline": found.baseline,
        "clock": found.run.clock,
        "seeds": list(found.run.seeds),
        "tuned": [str(equal) for equal in found.run.tuned],
        "examples": None if base.right is None else len(base.right),
        "start": found.scale * base.start,
        "teacher": found.scale * teachers[0] if teachers else None,
        "equal": found.equal_rows(),
        "costs": found.cost_rows(),
        "labels": found.label_rows(),
        "gkd": found.gkd_rows(),
        "agreement": agreement(found),
    }
    for file, key in TABLES.items():
        if summary[key]:
            write_csv(folder / file, summary[key])
    for file, draw in PICTURES.items():
        if file != "gkd.png" or summary["gkd"]:
            draw(summary, folder / file)
    write_text(folder / MARKDOWN, markdown(summary))
    return summary


def show(summary: Mapping[str, Any], directory: RunDirectory, console: Console) -> None:
    """Print the tables, and what agrees with the paper."""
    for sheet in sheets(summary):
        console.print(sheet.rich())
        console.print()
    for line in (heading(summary), *notes(summary), *summary["agreement"]):
        console.print(line, soft_wrap=True)
    for file in (MARKDOWN, *(name for name in PICTURES if (directory.path / name).exists())):
        console.print(f"{Path(file).suffix[1:]:8} {directory.path / file}", soft_wrap=True)


def markdown(summary: Mapping[str, Any]) -> str:
    """All tables, for a README."""
    parts = [heading(summary), *(sheet.markdown() for sheet in sheets(summary))]
    last = [f"- {line}" for line in (*notes(summary), *summary["agreement"])]
    return "\n\n".join([*parts, "\n".join(last)]).rstrip() + "\n"


def heading(summary: Mapping[str, Any]) -> str:
    """What holds for all tables."""
    seeds = ", ".join(map(str, summary["seeds"]))
    teacher = summary["teacher"]
    told = "" if teacher is None else f", teacher {form(summary, teacher)}"
    over = (
        f"paired over {summary['examples']:,} test examples, seeds held fixed"
        if summary["examples"]
        else "paired over seeds"
    )
    return (
        f"Student before {form(summary, summary['start'])}{told}, {summary['measure']}; seeds "
        f"{seeds}; intervals are 95 %, {over}; rates are chosen by validation on another seed"
        f"{_kept_rates(summary)}; the clock is {summary['clock']}; seconds of training + of the "
        "teacher's writing."
    )


def _kept_rates(summary: Mapping[str, Any]) -> str:
    """Where rates were not chosen anew."""
    asked = dict.fromkeys(row["equal"] for row in summary["equal"])
    told = [
        f"equal {equal} keeps those of equal steps"
        for equal in asked
        if equal not in summary["tuned"]
    ]
    if summary["gkd"] and "gkd" not in summary["tuned"]:
        told.append(
            "in GKD's table a policy keeps that of its first divergence, save what is a method"
        )
    return f" ({', '.join(told)})" if told else ""
