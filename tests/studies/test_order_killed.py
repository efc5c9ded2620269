"""``distillkit study order`` that is killed, goes on, and ends as one that was left alone."""

import io
import json
import signal
import time
from pathlib import Path

from rich.console import Console

from distillkit.compose import compose
from distillkit.programs.study.folder import claimed, directory_of
from distillkit.programs.study.order.program import study_order
from distillkit.programs.train.program import train
from tests.conftest import Start
from tests.forking import Started

STUDY = (
    *("name=small", "steps=2", "seeds=[0]", "rates=[1e-3]", "labels=[]", "gkd=false"),
    *("equal=[steps,tokens]", "multiple=2", "clock=sft", "validation=8", "test=8"),
    *(f"~methods.{name}" for name in ("seqkd", "supervised_kd", "mixed", "minillm")),
    "~methods.on_policy",
    "train='debug=smoke loop.batch_size=4 tracker=none'",
)


def killed_once(process: Started, folder: Path, left: str) -> None:
    """Kill it as soon as the folder holds such a file."""
    end = time.monotonic() + 120
    while not any(folder.glob(left)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_study_that_is_killed_twice_ends_with_the_tables_of_one_left_alone(
    started: Start, tmp_path: Path
) -> None:
    killed = tmp_path / "outputs/study/order/small"
    for left in ("*/run.yaml", "*/summary.json"):
        process = started("study", "order", *STUDY, folder=tmp_path)
        killed_once(process, killed / "train", left)
        assert not (killed / "summary.json").exists()
    process = started("study", "order", *STUDY, folder=tmp_path)
    out, err = process.communicate()
    assert (process.wait(), err) == (0, "")
    # The second may have ended before the kill came; the first is not done again.
    assert "measured: 2 trainings, 1 to do" in out or "measured: 2 trainings, all done" in out

    said = Console(file=io.StringIO())
    composed = compose("order", [*STUDY, f"output={tmp_path / 'alone'}"])
    alone = directory_of(composed, "order")
    with claimed(composed, alone, said):
        for run in (killed / "train").iterdir():
            typed = json.loads((run / "overrides.yaml").read_text())
            kept = [item for item in typed if not item.startswith("output=")]
            train(compose("train", [*kept, f"output={alone.path}"]), console=said)
    said = Console(file=io.StringIO())
    study_order(composed, console=said)
    assert "measured: 2 trainings, all done" in said.file.getvalue()
    for name in ("order.csv", "labels.csv"):
        assert (killed / name).read_bytes() == (alone.path / name).read_bytes()
    steps = [json.loads((at / "counts.json").read_text())["tokens"] for at in (killed, alone.path)]
    assert steps[0] == steps[1]
