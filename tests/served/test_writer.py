"""``writer=served`` and a served teacher's text, through the command line."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from distillkit.core.errors import ConfigError
from distillkit.distributed.placement import Placement
from distillkit.models.loading import EMBEDDED, load
from distillkit.models.pretrained import Student
from distillkit.writers.served import Served
from tests.conftest import CommandLine
from tests.served.stub import NAME, Stub
from tests.served.test_training import SMOKE, TOP, rows, served
from tests.tiny import CPU


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(folder=EMBEDDED / "student").serving() as running:
        yield running


def writing(stub: Stub, folder: Path) -> list[str]:
    return [
        *("writer=served", f"writer.url={stub.url}", f"writer.model={NAME}"),
        *(f"writer.folder={folder}", "teacher=embedded", "policy=on_policy"),
    ]


def texts(file: Path) -> list[tuple[list[int], bool]]:
    with sqlite3.connect(file) as kept:
        found = [value for (value,) in kept.execute("SELECT value FROM kept")]
    return [tuple(json.loads(value)) for value in found if value[:2] == b"[["]


@pytest.mark.parametrize("objective", ["divergence", "sampled_kl"])
def test_the_student_is_written_by_a_server_that_follows_it(
    objective: str, stub: Stub, distillkit: CommandLine, tmp_path: Path
) -> None:
    typed = [*writing(stub, tmp_path / "weights"), *SMOKE, f"objective={objective}"]
    result = distillkit("train", *typed, f"output={tmp_path}", "name=run")
    assert result.code == 0, result.err
    folder = tmp_path / "weights"
    # Shaken weights first, then those of each update; the newest are left.
    names = ["trial", *(f"step-{step:06d}" for step in range(4))]
    assert stub.reloads == [str(folder / name) for name in names]
    assert [file.name for file in folder.iterdir() if file.is_dir()] == names[-1:]
    assert stub.paths.count("/reset_prefix_cache") == len(names)
    updates = [row for row in rows(tmp_path / "train" / "run") if "loss" in row]
    assert {row["student_share"] for row in updates} == {1.0}
    # Recomputed here, so that a policy gradient has them.
    assert all(row["student_log_prob"] < 0 for row in updates)
    written = texts(folder / "texts.sqlite")
    assert len(written) == sum(len(each) != 17 for each in stub.scored)
    assert all(cut == (tokens[-1] != 1) for tokens, cut in written)
    asked = len(stub.scored)
    again = distillkit("train", *typed, f"output={tmp_path}", "name=again")
    assert again.code == 0, again.err
    assert len(stub.scored) == asked
    assert rows(tmp_path / "train" / "run") == rows(tmp_path / "train" / "again")


@pytest.mark.slow
def test_a_server_that_comes_back_is_given_the_weights_before_it_writes(
    stub: Stub, distillkit: CommandLine, tmp_path: Path
) -> None:
    longer = [*SMOKE, "steps=6", "loop.batch_size=4"]
    typed = [*writing(stub, tmp_path / "a"), *longer, f"output={tmp_path}", "name=calm"]
    assert distillkit("train", *typed).code == 0
    before, stub.reloads = list(stub.reloads), []
    # It has the teacher's shape from then on, as if it had been started with another model.
    stub.swapped_at = len(stub.scored) + 10
    typed = [*writing(stub, tmp_path / "b"), *longer, f"output={tmp_path}", "name=shaken"]
    result = distillkit("train", *typed)
    assert result.code == 0, result.err
    assert "waiting for up to" in result.out
    assert len(stub.reloads) == len(before) + 1
    assert rows(tmp_path / "train" / "calm") == rows(tmp_path / "train" / "shaken")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("stale weights", "has not taken all of the student's weights"),
        ("stale head", "On a CPU vLLM keeps a head that is tied to the embedding"),
        ("full cache", "could not be dropped yet"),
        ("no dev mode", "Start vllm serve with VLLM_SERVER_DEV_MODE=1"),
        ("other shape", "Start it again with a model of the student's shape"),
        ("strange end", "which ends none of the student's"),
    ],
)
def test_a_server_that_cannot_follow_is_refused(
    fault: str, words: str, stub: Stub, distillkit: CommandLine, tmp_path: Path
) -> None:
    """What vLLM does on a CPU: it says that it has read the weights, and keeps the tied head."""
    stub.fault = fault
    typed = [*writing(stub, tmp_path / "w"), "writer.patience_seconds=0.3", *SMOKE]
    result = distillkit("train", *typed, f"output={tmp_path}")
    assert result.code == 2, result.out
    assert words in result.err
    assert f"writer.url={stub.url}" in result.err
    assert result.err.count("\n") == 1


def test_several_processes_are_refused() -> None:
    student = load(Student(name="embedded:student"), device=CPU, precision="fp32")
    student.placement = Placement(size=2)
    settings = Served(url="http://127.0.0.1:9/v1", model=NAME, folder="weights")
    assert settings.tells_drawn()
    with pytest.raises(ConfigError, match=r"this run has 2\. Use placement=alone"):
        settings.open(student)


def test_a_served_teachers_text_is_learnt_by_its_ids(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    """Trap 26: a text that is decoded and split again is another one. Trap 23: settings leak."""
    with Stub().serving() as stub:
        typed = [
            *served(stub, "teacher.price=3"),
            *(*TOP, *SMOKE, "policy=seq_kd", "teacher_rollout.temperature=4"),
            *("teacher_rollout.max_new_tokens=12", f"output={tmp_path}"),
        ]
        result = distillkit("train", *typed, "name=run")
        assert result.code == 0, result.err
        tokenizer = stub.tokenizer
        asked = len(stub.scored)
        assert distillkit("train", *typed, "name=again").code == 0
        assert len(stub.scored) == asked
    assert "teacher wrote 16 of 16" in result.out
    written = texts(tmp_path / "kept" / "opinions.sqlite")
    assert len(written) == 16
    assert all(cut == (tokens[-1] != 1) for tokens, cut in written)
    changed = [
        tokens
        for tokens, _ in written
        if tokenizer.encode(tokenizer.decode(tokens), add_special_tokens=False) != tokens
    ]
    assert changed, "every text survives, so nothing is shown"
    scored = [list(each) for each in stub.scored]
    assert any(each[-len(changed[0]) :] == changed[0] for each in scored)
    body = stub.bodies[0]
    neutral = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
    assert neutral.items() <= body.items()
    assert body["temperature"] == 4
    assert len({each["seed"] for each in stub.bodies}) == 16
