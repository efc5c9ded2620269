"""The rule by which tables that compare methods choose rates, on runs of the command line."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from distillkit.programs.study.order.outcomes import right
from scripts.tuned import RATES, TUNING, Cell, gain, shares

from .conftest import CommandLine

SMOKE = "experiment=sft debug=smoke loop.batch_size=2 rollout.max_new_tokens=8"


def train(cell: Cell, rate: str, seed: int, distillkit: CommandLine) -> None:
    words = shlex.split(cell.command(rate, seed))
    assert words[:2] == ["distillkit", "train"]
    result = distillkit(*words[1:])
    assert (result.code, result.err) == (0, "")


def score(cell: Cell, accuracies: dict[str, float]) -> None:
    """Rewrite what validation found at rates that were tried."""
    for rate, accuracy in accuracies.items():
        file = cell.run(rate, TUNING).path / "metrics.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        rows[-1]["validation/accuracy"] = accuracy
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_rate_is_chosen_once_the_best_is_not_at_an_end(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    cell = Cell("few", SMOKE, str(tmp_path / "out"), 1, seeds=(0, 1))
    assert cell.untried() == ["1e-4", "3e-4", "1e-3"]
    with pytest.raises(SystemExit, match="tune first"):
        cell.rate()
    for rate in cell.untried():
        train(cell, rate, TUNING, distillkit)
    score(cell, {"1e-4": 0.1, "3e-4": 0.3, "1e-3": 0.2})
    assert (cell.untried(), cell.rate()) == ([], "3e-4")
    score(cell, {"1e-3": 0.4})
    assert cell.untried() == ["3e-3"]
    score(cell, {"1e-4": 0.4})
    assert cell.untried() == ["3e-5"], "of equals the lower one is taken"
    train(cell, "3e-5", TUNING, distillkit)
    score(cell, {"3e-5": 0.5})
    assert (cell.untried(), cell.rate()) == ([], RATES[0]), "nothing lower is tried"

    with pytest.raises(SystemExit, match="is not finished"):
        cell.finished()
    for seed in cell.seeds:
        train(cell, cell.rate(), seed, distillkit)
    found = right(cell.finished())
    told = [(run.summary or {})["student_after"]["accuracy"] for run in cell.finished()]
    assert found.mean(0) == pytest.approx(told)
    assert shares(found)[1] == f"{100 * np.mean(told):.1f} %"


def test_a_gain_is_in_points_and_paired() -> None:
    left = np.array([[1, 1], [1, 0], [0, 0], [1, 1]], dtype=float)
    assert gain(left, left) == "+0.0 (+0.0 to +0.0)"
    assert gain(left, left - 0.25) == "+25.0 (+25.0 to +25.0)"
