"""Collections of rollouts through the command line: interrupted, damaged, and wrong settings."""

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from distillkit.core.errors import Interrupted
from tests.conftest import SMOKE, CommandLine, Start
from tests.conftest import contents as every_file
from tests.preflight.planted import found
from tests.test_bad_input import said
from tests.test_resume import TINY, contents, run, wait_for_step

MINILLM = (
    "objective=minillm",
    "policy=teacher_mixed",
    "dataset@dataset_pt=arithmetic",
    "dataset_pt.digits=1",
    "loop.collect=2",
    "loop.inner_epochs=2",
    "checkpoint.every=3",
)
"""Four updates share their rollouts; the checkpoint of step 3 is amid them."""
RUN = Path("outputs/train/run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not stopped; not to be changed."""
    return run(tmp_path_factory.mktemp("whole"), *MINILLM)


def test_a_killed_run_goes_on_amid_a_collection(
    whole: Path, started: Start, tmp_path: Path
) -> None:
    asked = [*TINY, *MINILLM, "name=run", f"output={tmp_path}"]
    process = started("train", *asked, folder=tmp_path)
    folder = tmp_path / "train" / "run"
    wait_for_step(folder, 4)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    assert (folder / "checkpoints" / "step-000003" / "rollouts.jsonl").is_file()
    assert contents(run(tmp_path, *MINILLM)) == contents(whole)


@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, 1), (signal.SIGINT, 3)])
def test_a_signal_amid_a_collection_keeps_its_rollouts(
    number: signal.Signals, step: int, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "train" / "run"

    def send() -> None:
        wait_for_step(folder, step)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted):
        run(tmp_path, *MINILLM)
    sender.join()
    newest = max((folder / "checkpoints").glob("step-*"))
    assert (newest / "rollouts.jsonl").is_file() == (newest.name != "step-000004")
    assert contents(run(tmp_path, *MINILLM)) == contents(whole)


@pytest.fixture(scope="module")
def stopped(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run as a machine that failed after step 3 leaves it."""
    output = tmp_path_factory.mktemp("stopped")
    folder = shutil.copytree(whole, output / "train" / "run")
    for name in ("summary.json", "curves.png"):
        (folder / name).unlink()
    shutil.rmtree(folder / "student")
    shutil.rmtree(folder / "checkpoints" / "step-000006")
    return output


def test_what_a_failure_leaves_is_resumed(whole: Path, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "again")
    assert contents(run(tmp_path / "again", *MINILLM)) == contents(whole)


@pytest.mark.parametrize("damage", ["cut", "foreign", "changed", "missing"])
def test_damaged_rollouts_are_one_sentence(
    damage: str, stopped: Path, distillkit: CommandLine
) -> None:
    shutil.copytree(stopped, "outputs")
    folder = RUN / "checkpoints" / "step-000003"
    file = folder / "rollouts.jsonl"
    content = file.read_text()
    first = content.splitlines()[0]
    if damage == "missing":
        file.unlink()
    else:
        file.write_text(
            {
                "cut": content[: len(content) // 2],
                "foreign": content.replace('"example": "', '"example": "other '),
                "changed": content.replace(first, first.replace("0", "1")),
            }[damage]
        )
    before = (RUN / "metrics.jsonl").read_bytes()
    result = distillkit("train", *TINY, *MINILLM, "name=run")
    said(result, str(folder), "the one before it", "start anew")
    assert (RUN / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["loop.collect=0"], ["loop.collect", "got 0", "at least 1"]),
        (["loop.inner_epochs=0"], ["loop.inner_epochs", "got 0", "at least 1"]),
        (["loop.group=3"], ["loop.group=3 does not divide loop.batch_size=4"]),
        (["policy=off_policy", "loop.group=2"], ["loop.group=2", "policy=off_policy", "=1"]),
        (["policy=seq_kd", "loop.group=2"], ["loop.group=2", "policy=seq_kd", "policy=on_policy"]),
        (["objective=reward", "policy=on_policy"], ["loop.group=1", "Set loop.group=4"]),
        (["dataset@dataset_pt=arithmetic"], ["has no effect with objective=divergence"]),
        ([*MINILLM[:2], "dataset@dataset_pt=text"], ["give one of them"]),
        (
            [*MINILLM[:2], "dataset@dataset_pt=text", "dataset_pt.path=missing"],
            ["dataset.path=missing"],
        ),
        (
            [
                *("experiment=rl_distil", "loop.group=2"),
                *("reward=python", "reward.function=no_such.module:name"),
            ],
            ["no_such.module"],
        ),
    ],
    ids=lambda each: " ".join(each)[:60],
)
def test_wrong_settings_are_one_sentence_and_leave_nothing(
    typed: list[str], words: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    said(distillkit("train", *SMOKE, *typed), *words)
    assert every_file(tmp_path) == {}


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    "typed",
    [
        ["objective=minillm", "policy=on_policy"],
        ["objective=reward", "policy=on_policy", "loop.group=4"],
        ["policy=mixed", "policy.otherwise=teacher", "loop.collect=3"],
        [*MINILLM],
    ],
    ids=" ".join,
)
def test_the_doctor_finds_such_runs_healthy(
    typed: list[str], distillkit: CommandLine, tmp_path: Path
) -> None:
    result = distillkit("doctor", *SMOKE, "rollout.max_new_tokens=64", *typed)
    assert result.code == 0, result.out
    assert "0 warning, 0 fatal, 0 skipped" in result.out
    assert "to the end" in found(result, "ok", "pace")
    assert every_file(tmp_path) == {}
