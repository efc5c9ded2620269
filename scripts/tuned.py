"""Runs whose rate is chosen by one rule, for tables that compare methods.

A cell's rate is the one with the best validation accuracy of its last weights on seed 100, among
1e-4, 3e-4 and 1e-3 and, where the best is at an end, what lies beyond (3e-5, 3e-3). Seeds 0, 1 and
2 are then trained with it and measured on the test split.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distillkit.core.reading import read_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import TrainSummary
from distillkit.programs.study.order.rates import best, untried
from distillkit.programs.train.standing import METRICS, VERDICTS
from distillkit.statistics.paired import bootstrap_difference

RATES = ("3e-5", "1e-4", "3e-4", "1e-3", "3e-3")
SEEDS, TUNING = (0, 1, 2), 100


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of a table: what is typed for all of its runs, but for rate and seed."""

    slug: str
    """Beginning of its runs' names."""
    overrides: str
    output: str
    steps: int
    seeds: tuple[int, ...] = SEEDS

    def run(self, rate: str, seed: int) -> RunDirectory:
        """A run's directory."""
        place = Path(self.output) / "train" / self._name(rate, seed)
        return RunDirectory(place, shape=TrainSummary)

    def command(self, rate: str, seed: int) -> str:
        """What trains one run; on the tuning seed nothing is read but validation."""
        tuning = f"evaluation.every={self.steps} evaluation.validation=500 evaluation.test=0"
        words = [
            *self.overrides.split(),
            f"name={self._name(rate, seed)}",
            f"output={self.output}",
            f"optimizer.lr={rate}",
            f"seed={seed}",
            f"steps={self.steps}",
            *(tuning if seed == TUNING else "evaluation.every=0").split(),
            "tracker=none",
        ]
        return f"distillkit train {shlex.join(words)}"

    def untried(self) -> list[str]:
        """Rates that are still to be tried before one is chosen."""
        return untried(self.scores(), RATES)

    def rate(self) -> str:
        """The rate with the best validation accuracy; the lower one of equals."""
        if left := self.untried():
            raise SystemExit(f"{self.slug} has not been tried with {', '.join(left)}: tune first.")
        return best(self.scores(), RATES)

    def scores(self) -> dict[str, float]:
        """Validation accuracy on the tuning seed by rate, as far as tried."""
        scores = {}
        for rate in RATES:
            run = self.run(rate, TUNING)
            if run.summary is not None:
                rows = read_json_lines(run.path / METRICS, dict[str, float], way_out=WAY_OUT)
                scores[rate] = rows[-1]["validation/accuracy"]
        return scores

    def finished(self) -> list[RunDirectory]:
        """Its measured runs, by seed."""
        rate = self.rate()
        found = [self.run(rate, seed) for seed in self.seeds]
        for run in found:
            if run.summary is None:
                raise SystemExit(f"{run.path} is not finished.")
            run.check_left(VERDICTS)
        return found

    def seconds(self) -> float:
        """Mean training time of its measured runs."""
        return float(np.mean([(run.summary or {})["training_seconds"] for run in self.finished()]))

    def _name(self, rate: str, seed: int) -> str:
        return f"{self.slug}-{rate}-{self.steps}-{seed}"


def print_commands(cells: Iterable[Cell], *, tune: bool) -> None:
    """Of all measured runs; or of those that are left before rates are chosen."""
    for cell in cells:
        if tune:
            for rate in cell.untried():
                print(cell.command(rate, TUNING))
        else:
            rate = cell.rate()
            for seed in cell.seeds:
                print(cell.command(rate, seed))


def gain(left: np.ndarray, against: np.ndarray) -> str:
    """Difference of two accuracies in points, paired over examples, seeds held fixed."""
    ones = np.ones(len(left))
    found = bootstrap_difference((left.mean(1), ones), (against.mean(1), ones))
    assert found.low is not None
    assert found.high is not None
    return f"{100 * found.estimate:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def shares(found: np.ndarray) -> list[str]:
    """Cells of a table: each seed's accuracy, and their mean."""
    each = 100 * found.mean(0)
    return [", ".join(f"{share:.1f}" for share in each), f"{each.mean():.1f} %"]


def print_row(cells: Iterable[str]) -> None:
    """A line of a Markdown table."""
    print("| " + " | ".join(cells) + " |")
