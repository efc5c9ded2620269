"""Mean and 95 % interval over seeds of a sweep's methods, as Markdown.

    distillkit sweep experiment=sft,gkd seed=0,1,2 hydra/launcher=joblib
    python scripts/method_table.py outputs/sweep/<id>/table.json

Intervals are Student's t over seeds; the gain column pairs seeds with those of the first method.
"""

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import stats

from distillkit.core.cells import read_table


def main(table: Annotated[Path, typer.Argument(help="A sweep's table.json.")]) -> None:
    """Print one row for each method, in the order of the grid."""
    methods: dict[str, dict[str, float]] = defaultdict(dict)
    before, seconds = set(), defaultdict(list)
    for cell in read_table(table.parent):
        if not cell.get("summary"):
            raise SystemExit(f"unfinished cell: {' '.join(cell['overrides'])}")
        pairs = dict(item.lstrip("+").split("=", 1) for item in cell["overrides"])
        name = pairs.get("experiment", "default")
        methods[name][pairs.get("seed", "0")] = cell["summary"]["student_after"]["accuracy"]
        before.add(cell["summary"]["student_before"]["accuracy"])
        seconds[name].append(cell["summary"]["training_seconds"])
    first = next(iter(methods.values()))
    print(f"Student before: {', '.join(f'{value:.1%}' for value in sorted(before))}\n")
    print("| method | accuracy, each seed | mean | 95 % interval | gain over the first row |")
    print("|---|---|---|---|---|")
    for name, scores in methods.items():
        values = np.array(list(scores.values()))
        gains = np.array([scores[seed] - first[seed] for seed in scores])
        each = ", ".join(f"{value:.1%}" for value in values)
        gain = "-" if scores is first else f"{gains.mean():+.1%} ({_interval(gains)})"
        print(f"| {name} | {each} | {values.mean():.1%} | {_interval(values)} | {gain} |")
    print(
        f"\nTraining seconds a run: { ({k: round(float(np.mean(v))) for k, v in seconds.items()}) }"
    )


def _interval(values: np.ndarray) -> str:
    if len(values) < 2:
        return "one seed"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean() - half:.1%} to {values.mean() + half:.1%}"


if __name__ == "__main__":
    typer.run(main)
