"""Cells in several tasks of a job, each of which trains as one process among several."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import CommandLine, Start
from tests.test_sweep import SMOKE, table

SCRIPT = Path(__file__).parents[1] / "docs" / "slurm.sh"

TWO = ("hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2")


@pytest.fixture
def launched(distillkit_process: CommandLine, tmp_path: Path) -> Callable[..., list[dict]]:
    """Run a grid in ``tmp_path``, two processes a cell, which must succeed; its cells."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")

    def call(*overrides: str) -> list[dict]:
        asked = [*SMOKE, f"output={tmp_path}", *TWO, *overrides]
        done = distillkit_process("sweep", *asked, folder=tmp_path)
        assert done.code == 0, done.out + done.err
        return table(tmp_path)

    return call


def losses(run: Path) -> list[float]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize(
    ("placement", "seeds"),
    [("replicas", [0]), pytest.param("sharded", [0, 1], marks=pytest.mark.slow)],
)
def test_two_tasks_a_cell_train_together_as_one_process_does(
    placement: str,
    seeds: list[int],
    launched: Callable[..., list[dict]],
    distillkit_process: CommandLine,
    tmp_path: Path,
) -> None:
    cells = launched(f"seed={','.join(map(str, seeds))}", f"placement={placement}")
    for seed, cell in zip(seeds, cells, strict=True):
        assert cell["status"] == "done"
        run, alone = Path(cell["run"]), tmp_path / "alone" / "train" / str(seed)
        layout = json.loads((run / "provenance.json").read_text())["layout"]
        assert layout == {"replicas": "2 replicas", "sharded": "1 x 2 shards"}[placement]
        own = [f"seed={seed}", f"name={seed}", f"output={tmp_path / 'alone'}"]
        done = distillkit_process("train", *SMOKE, *own, folder=tmp_path)
        assert done.code == 0, done.err
        assert losses(run) == pytest.approx(losses(alone), abs=1e-6)


@pytest.mark.slow
def test_a_killed_process_or_task_takes_no_other_cell_with_it(
    started: Start, launched: Callable[..., list[dict]], tmp_path: Path
) -> None:
    asked = ["steps=100", "seed=0,1,2"]
    process = started("sweep", *SMOKE, f"output={tmp_path}", *TWO, *asked, folder=tmp_path)
    victims = [
        awaited(lambda: training(tmp_path, seed=0, rank=1)),
        awaited(lambda: parent_of(training(tmp_path, seed=1, rank=0))),
    ]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 2, out + err
    assert "2 of 3 cells failed" in err
    rank, task, whole = table(tmp_path)
    assert [rank["status"], task["status"], whole["status"]] == ["failed", "failed", "done"]
    assert rank["error"].startswith("another process of this run has ended")
    assert task["error"].startswith("its process is gone and has not said why")
    assert [cell["status"] for cell in launched(*asked)] == ["done", "done", "kept"]


@pytest.mark.slow
def test_a_cell_that_is_preempted_saves_and_goes_on_by_itself(
    started: Start, launched: Callable[..., list[dict]], tmp_path: Path
) -> None:
    asked = ["steps=60", "seed=0"]
    process = started("sweep", *SMOKE, f"output={tmp_path}", *TWO, *asked, folder=tmp_path)
    ranks = [awaited(lambda rank=rank: training(tmp_path, seed=0, rank=rank)) for rank in (0, 1)]
    for task in map(parent_of, ranks):
        assert task is not None
        os.kill(task, signal.SIGUSR2)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, out + err
    (cell,) = table(tmp_path)
    assert "resumed at step" in (Path(cell["run"]) / "log.txt").read_text()
    interrupted = losses(Path(cell["run"]))
    shutil.rmtree(tmp_path / "train")
    assert losses(Path(launched(*asked)[0]["run"])) == interrupted


def awaited(find: Callable[[], int | None]) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (found := find()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("no such process came up")


def training(output: Path, *, seed: int, rank: int) -> int | None:
    """The process of a training that has taken a step."""
    if not Path("/proc/self/environ").is_file():
        pytest.skip("needs Linux's /proc to find the cell's processes")
    for pid, arguments, environment in processes():
        if (
            {"train", f"seed={seed}", f"output={output}"} <= arguments
            and f"RANK={rank}" in environment
            and any(losses(run.parent) for run in started_by(output, seed))
        ):
            return pid
    return None


def started_by(output: Path, seed: int) -> list[Path]:
    """Journals of runs of a seed."""
    found = output.glob("train/*/metrics.jsonl")
    return [each for each in found if f"seed: {seed}\n" in (each.parent / "run.yaml").read_text()]


def processes() -> Iterator[tuple[int, set[str], set[str]]]:
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                words, told = ((place / name).read_bytes() for name in ("cmdline", "environ"))
            except OSError:
                # It has ended in between, or is another user's.
                continue
            arguments, environment = (set(each.decode().split("\0")) for each in (words, told))
            yield int(place.name), arguments, environment


def parent_of(pid: int | None) -> int | None:
    if pid is None:
        return None
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"PPid:\s+(\d+)", status)[1])


@pytest.mark.slow
def test_cells_of_ray_train_alone_whatever_its_workers_are_among_others(
    distillkit_process: CommandLine, tmp_path: Path
) -> None:
    """Trap: pods of a cluster have a rank of their own, and a cell would wait for the others."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    told = "+hydra.launcher.ray.init.runtime_env.env_vars={RANK:'1',WORLD_SIZE:'2'}"
    asked = [*SMOKE, f"output={tmp_path}", "seed=0,1", "hydra/launcher=ray", told]
    done = distillkit_process("sweep", *asked, folder=tmp_path)
    assert done.code == 0, done.out + done.err
    cells = table(tmp_path)
    assert [cell["status"] for cell in cells] == ["done", "done"]
    for cell in cells:
        assert json.loads((Path(cell["run"]) / "provenance.json").read_text())["layout"] == "alone"


def test_the_batch_script_is_one_that_bash_and_slurm_read() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    lines = SCRIPT.read_text().splitlines()
    asked = [line for line in lines if line.startswith("#SBATCH")]
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", line) for line in asked)
    options = [line.split()[1].partition("=")[0] for line in asked]
    assert {"--nodes", "--signal", "--requeue", "--open-mode"} <= set(options)
    assert len(set(options)) == len(options)
    # Slurm stops reading them at the first command.
    first = next(place for place, line in enumerate(lines) if line and not line.startswith("#"))
    assert max(map(lines.index, asked)) < first


def test_slurm_takes_the_batch_script() -> None:
    if not shutil.which("sbatch"):
        pytest.skip("sbatch is not installed: Slurm alone can say whether it takes the script")
    if subprocess.run(["scontrol", "ping"], capture_output=True).returncode:
        pytest.skip("no Slurm controller answers")
    small = ["--nodes=1", "--gpus-per-node=0", "--cpus-per-task=1", "--time=10"]
    call = ["sbatch", "--test-only", *small, SCRIPT, "seed=0"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
