"""UNDO against its baselines over several seeds, as Markdown.

    for seed in 0 1 2; do distillkit undo-iterate seed=$seed name=seed-$seed; done
    python scripts/undo_table.py outputs/undo/seed-0 outputs/undo/seed-1 outputs/undo/seed-2

A gain is the returned student's accuracy less the baseline's, in points. Its first interval
resamples the examples with the seeds held fixed, the second is Student's t over seeds.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import UndoSummary
from distillkit.programs.train.standing import VERDICTS
from distillkit.statistics import bootstrap
from distillkit.statistics.paired import t_test

Verdicts = dict[str, dict[str, bool]]


def main(
    runs: Annotated[list[Path], typer.Argument(help="Run directories of undo-iterate.")],
) -> None:
    """Print accuracies, then gains."""
    summaries = [_summary(run) for run in runs]
    verdicts = [_verdicts(run / VERDICTS) for run in runs]
    splits = list(summaries[0]["rows"][0]["accuracy"])
    print(f"| student | {' | '.join(splits)} |\n|---|{'---|' * len(splits)}")
    for name in ("start", "returned", *_baselines(summaries[0])):
        cells = [
            ", ".join(f"{_share(s, _named(s, name), split):.1%}" for s in summaries)
            for split in splits
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print(
        "\n| gain over | split | each seed | mean | examples | seeds |\n|---|---|---|---|---|---|"
    )
    for label in _baselines(summaries[0]):
        for split in splits[1:]:
            differences = np.array(
                [
                    _difference(of[split], summary["returned"], _named(summary, label))
                    for of, summary in zip(verdicts, summaries, strict=True)
                ]
            )
            print(f"| {label} | {split} | {_row(differences)} |")


def _row(differences: np.ndarray) -> str:
    """Cells about differences [seeds, examples]."""
    each = 100 * differences.mean(axis=1)
    draws = bootstrap.counts(differences.shape[1]) @ differences.mean(axis=0)
    low, high = bootstrap.interval(100 * draws / differences.shape[1])
    cells = [", ".join(f"{gain:+.1f}" for gain in each), f"{each.mean():+.1f}"]
    cells.append(f"{low:+.1f} to {high:+.1f}")
    found = t_test(each, np.zeros(len(each))) if len(each) > 1 else None
    known = found is not None and found.low is not None and found.high is not None
    cells.append(f"{found.low:+.1f} to {found.high:+.1f}" if known else "-")
    return " | ".join(cells)


def _summary(run: Path) -> dict[str, Any]:
    directory = RunDirectory(run, shape=UndoSummary)
    summary = directory.summary
    if summary is None:
        raise SystemExit(f"{run} is not finished. Give its distillkit undo-iterate command again.")
    directory.check_left(VERDICTS)
    return summary


def _verdicts(file: Path) -> dict[str, Verdicts]:
    """By split and example."""
    found: dict[str, Verdicts] = {}
    for row in read_json_lines(file, dict[str, Any], way_out=WAY_OUT):
        found.setdefault(row.pop("split"), {})[row.pop("id")] = row
    return found


def _difference(verdicts: Verdicts, left: str, right: str) -> list[int]:
    return [int(row[left]) - int(row[right]) for row in verdicts.values()]


def _baselines(summary: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["baseline"] for row in summary["differences"]))


def _named(summary: dict[str, Any], name: str) -> str:
    """The row behind a label."""
    if name in ("start", "returned"):
        return str(summary.get(name, name))
    return next(row["right"] for row in summary["differences"] if row["baseline"] == name)


def _share(summary: dict[str, Any], name: str, split: str) -> float:
    return next(row["accuracy"][split]["value"] for row in summary["rows"] if row["name"] == name)


if __name__ == "__main__":
    typer.run(main)
