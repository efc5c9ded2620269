"""Grids through Hydra's own launchers and sweepers, each through the real command line."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CommandLine, Result, Start, contents

STRANGE = "my runs (v2), lr=1e-4 ü"
TOGETHER = {"joblib": ["hydra.launcher.n_jobs=2"]}
"""What makes a launcher run both cells at once, where it does not by itself."""
SMOKE = ["debug=smoke", "tracker=none", "evaluation.every=0", "evaluation.test=4"]


Sweep = Callable[..., Result]


@pytest.fixture
def sweep(distillkit_process: CommandLine, tmp_path: Path) -> Sweep:
    """Run a grid of short trainings in ``tmp_path``."""

    def call(*overrides: str) -> Result:
        asked = [*SMOKE, f"output={tmp_path}", *overrides]
        return distillkit_process("sweep", *asked, folder=tmp_path)

    return call


def table(output: Path) -> list[dict]:
    (file,) = (output / "sweep").glob("*/table.json")
    return json.loads(file.read_text())


@pytest.mark.parametrize(
    "launcher",
    ["joblib", *(pytest.param(name, marks=pytest.mark.slow) for name in ("submitit_local", "ray"))],
)
def test_a_failed_cell_is_reported_and_stops_no_other_under_a_launcher_in_folders_of_any_name(
    launcher: str, distillkit_process: CommandLine, tmp_path: Path
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher")
    folder, scratch = tmp_path / STRANGE, tmp_path / "sc ra, (2)"
    folder.mkdir()
    asked = ["optimizer.lr=1e30,1e-3", "output=${oc.env:SCRATCH}/o p"]
    asked += [f"hydra/launcher={launcher}", *TOGETHER.get(launcher, ())]
    place = {"SCRATCH": str(scratch)}
    done = distillkit_process("sweep", *SMOKE, *asked, folder=folder, environment=place)
    assert done.code == 2
    assert "1 of 2 cells failed" in done.err
    failed, finished = table(scratch / "o p")
    assert (failed["status"], finished["status"]) == ("failed", "done")
    assert "Lower optimizer.lr" in failed["error"]
    assert (Path(finished["run"]) / "summary.json").is_file()
    assert contents(folder) == {}


@pytest.mark.slow
def test_the_optuna_sweeper_reads_what_a_cell_returns(sweep: Sweep, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    done = sweep(
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.direction=maximize",
        "hydra.sweeper.sampler.seed=1",
        "optimizer.lr=interval(1e-4, 1e-3)",
    )
    assert done.code == 0, done.out + done.err
    rates = {cell["summary"]["name"] for cell in table(tmp_path)}
    assert len(rates) == 2


@pytest.mark.slow
def test_the_optuna_sweeper_outlives_a_failed_cell_and_keeps_the_best(
    sweep: Sweep, tmp_path: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    chosen = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"]
    done = sweep(*chosen, "hydra.sweeper.sampler.seed=1", "optimizer.lr=choice(1e-3,1e30)")
    assert done.code == 2
    assert "Traceback" not in done.out + done.err
    assert {cell["status"] for cell in table(tmp_path)} == {"failed", "done"}
    (file,) = (tmp_path / "sweep").glob("*/optimization_results.yaml")
    assert "optimizer.lr: 0.001" in file.read_text()


def test_a_killed_cell_alone_runs_again(sweep: Sweep, started: Start, tmp_path: Path) -> None:
    asked = ["seed=0,1", "steps=12", "checkpoint.every=3"]
    process = started("sweep", *SMOKE, f"output={tmp_path}", *asked, folder=tmp_path)
    victim, deadline = None, time.monotonic() + 120
    while victim is None and time.monotonic() < deadline:
        found = list(tmp_path.glob("train/*/metrics.jsonl"))
        victim = _pid_of_child(process.pid) if found and found[0].stat().st_size else None
        time.sleep(0.05)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    process.communicate(timeout=280)
    statuses = [cell["status"] for cell in table(tmp_path)]
    assert statuses == ["failed", "done"]
    assert table(tmp_path)[0]["error"] == "killed by signal 9"
    again = sweep(*asked)
    assert again.code == 0, again.out + again.err
    assert [cell["status"] for cell in table(tmp_path)] == ["done", "kept"]


def _pid_of_child(parent: int) -> int | None:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.is_file():
        pytest.skip("needs Linux's /proc to find the cell's process")
    pids = children.read_text().split()
    return int(pids[0]) if pids else None
