"""However one of several processes ends, all do, with one sentence, and the run goes on."""

import shutil
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import SMOKE, Start
from tests.distributed.ranks import environment, free_port, run_ranks
from tests.forking import Started
from tests.tiny import distance

TYPED = (
    *("train", *SMOKE, "divergence=jsd", "policy=mixed", "lmbda=0.5", "rollout.max_new_tokens=8"),
    *("steps=12", "checkpoint.every=2", "checkpoint.keep_last=9", "evaluation.every=3"),
    *("evaluation.validation=2", "evaluation.test=2", "placement.timeout=20"),
)
LAYOUTS = ("alone", "replicas", "sharded")
PATIENCE = 30
"""Seconds in which all processes must have ended."""

NAN = '''
import os

from distillkit.core.spec import spec
from distillkit.divergences.base import Divergence
from distillkit.divergences.kl import ForwardKL


@spec("divergence/nan_on_one")
class NanOnOne(Divergence):
    """Forward KL, which is no number in the second process."""

    def __call__(self, teacher, student):
        found = ForwardKL()(teacher, student)
        return found * float("nan") if os.environ.get("RANK") == "1" else found
'''

FULL = """
import errno
import os

from distillkit.core.spec import spec
from distillkit.divergences.kl import ForwardKL
from distillkit.training import checkpoint


@spec("divergence/brought")
class Brought(ForwardKL):
    '''What every plugin has to bring.'''


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


if os.environ.get("RANK") == os.environ["FULL"]:
    checkpoint.write_sealed = full
    from distillkit.distributed.state import HuggingFaceStorageWriter

    HuggingFaceStorageWriter.write_data = full
"""


CANNOT_WRITE = """
import os

from distillkit.core.errors import DataError
from distillkit.core.spec import spec
from distillkit.writers.base import Local
from distillkit.writers.local import LocalWriter


class Failing(LocalWriter):
    def write(self, *given, **named):
        if os.environ["RANK"] == "1":
            raise DataError("the second process cannot write.")
        return super().write(*given, **named)


@spec("writer/failing")
class FailingSettings(Local):
    IMPLIED = False

    def open(self, student):
        return Failing(student)
"""


def begin(started: Start, output: Path, *typed: str) -> list[Started]:
    """Two processes of one training, each the real command line."""
    output.mkdir(exist_ok=True)
    port = free_port()
    return [
        started(
            *(*TYPED, f"output={output}", "name=run", *typed),
            folder=output,
            environment=environment(rank, 2, port),
        )
        for rank in range(2)
    ]


def ended(ranks: list[Started]) -> tuple[list[int], str]:
    """Their exit codes, and what all of them said on stderr."""
    said = [rank.communicate(PATIENCE)[1] for rank in ranks]
    return [rank.returncode or 0 for rank in ranks], "".join(said)


def sentences(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("distillkit: ")]


@pytest.fixture(scope="module")
def whole(started: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of each layout, with all of its checkpoints."""
    root = tmp_path_factory.mktemp("ends")
    for layout in LAYOUTS:
        command = [[*TYPED, f"output={root / layout}", "name=run", f"placement={layout}"]]
        results = run_ranks(started, 1 if layout == "alone" else 2, root / layout, command)
        assert [rank[0]["error"] for rank in results] == [None] * len(results)
    return root


def left(output: Path) -> tuple[bytes, bytes]:
    run = output / "train" / "run"
    student = run / "student" / "model.safetensors"
    return (run / "metrics.jsonl").read_bytes(), student.read_bytes()


@pytest.mark.parametrize("layout", ["replicas", "sharded"])
@pytest.mark.parametrize(
    ("rank", "number"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGTERM)]
)
def test_a_process_that_is_ended_ends_all_and_the_run_goes_on_to_the_byte(
    layout: str, rank: int, number: int, started: Start, whole: Path, tmp_path: Path
) -> None:
    ranks = begin(started, tmp_path, f"placement={layout}")
    metrics = tmp_path / "train" / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.is_file() or metrics.read_bytes().count(b"\n") < 4:
        assert time.monotonic() < deadline
        assert ranks[0].poll() is None
        time.sleep(0.02)
    ranks[rank].send_signal(number)
    codes, said = ended(ranks)
    assert len(sentences(said)) == 1, said
    if number == signal.SIGTERM:
        assert codes == [128 + number] * 2
        assert "stopped after step" in said
    else:
        assert codes[rank] == -number
        assert codes[1 - rank] == 2
        assert "another process of this run has ended" in said
    assert not (metrics.parent / "summary.json").exists()
    codes, said = ended(begin(started, tmp_path, f"placement={layout}"))
    assert (codes, sentences(said)) == ([0, 0], [])
    assert left(tmp_path) == left(whole / layout)


@pytest.mark.parametrize("layout", ["replicas", "sharded"])
@pytest.mark.parametrize(
    ("plugin", "typed", "words"),
    [
        (NAN, ["divergence=nan_on_one"], "the loss or gradient is not finite at step 1"),
        (FULL.replace('os.environ["FULL"]', '"0"'), [], "no space is left on the disk"),
        (FULL.replace('os.environ["FULL"]', '"1"'), [], "no space is left on the disk"),
    ],
    ids=["nan on one", "disk of the chief full", "disk of another full"],
)
def test_what_goes_wrong_in_one_process_is_one_sentence_of_all(
    layout: str, plugin: str, typed: list[str], words: str, started: Start, tmp_path: Path
) -> None:
    if layout == "replicas" and '"1"' in plugin and plugin != NAN:
        pytest.skip("of replicas the chief alone writes")
    (tmp_path / "wrong.py").write_text(plugin)
    ranks = begin(
        started, tmp_path, "--plugin", "wrong.py", *typed, f"placement={layout}", "steps=3"
    )
    codes, said = ended(ranks)
    assert codes == [2, 2]
    assert len(sentences(said)) == 1, said
    assert words in sentences(said)[0]


@pytest.mark.parametrize("layout", ["replicas", "sharded"])
def test_all_hear_what_one_cannot_do_before_they_wait_for_it(
    layout: str, started: Start, tmp_path: Path
) -> None:
    """Where a process that is gone is not noticed, as by NCCL, they would wait for a time-out."""
    plugin = tmp_path / "failing.py"
    plugin.write_text(CANNOT_WRITE)
    typed = [f"output={tmp_path}", f"placement={layout}", "policy=on_policy", "lmbda=null"]
    command = [*TYPED, *typed, "writer=failing", "--plugin", str(plugin)]
    results = run_ranks(started, 2, tmp_path, [command])
    assert [rank[0]["error"] for rank in results] == [
        "DataError: the second process cannot write."
    ] * 2


@pytest.mark.parametrize(
    ("before", "after"),
    [("alone", "replicas"), ("alone", "sharded"), ("sharded", "alone"), ("sharded", "replicas")],
)
def test_a_run_goes_on_in_another_layout_but_for_rounding(
    before: str, after: str, started: Start, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole / before / "train", tmp_path / "train")
    run = tmp_path / "train" / "run"
    for name in ("summary.json", "verdicts.jsonl", "curves.png"):
        (run / name).unlink()
    shutil.rmtree(run / "student")
    for done in ("step-000008", "step-000010", "step-000012"):
        shutil.rmtree(run / "checkpoints" / done)
    command = [[*TYPED, f"output={tmp_path}", "name=run", f"placement={after}"]]
    results = run_ranks(started, 1 if after == "alone" else 2, tmp_path, command)
    assert [rank[0]["error"] for rank in results] == [None] * len(results)
    found, wanted = (
        load_file(each / "train" / "run" / "student" / "model.safetensors")
        for each in (tmp_path, whole / before)
    )
    assert found.keys() == wanted.keys()
    assert distance(found, wanted) <= 1e-6
    log = (run / "log.txt").read_text()
    assert "resumed at step 6" in log
    assert "the same but for rounding" in log
    assert "layouts" in (run / "summary.json").read_text()
