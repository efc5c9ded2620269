"""A served teacher of another tokenizer is asked about its own ids."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CommandLine
from tests.foreign import unlike
from tests.served.stub import NAME, Stub

SHORT = ["debug=smoke", "tracker=none", "evaluation.test=0", "steps=3", "loop.batch_size=4"]
CHUNKS = ["support=aligned", "policy=off_policy", "rollout.max_new_tokens=96", "device=cpu"]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub().serving() as running:
        yield running


def served(stub: Stub) -> list[str]:
    named = [f"teacher.url={stub.url}", f"teacher.model={NAME}", "teacher.prompt=plain"]
    return ["teacher=served", *named, "teacher.tokenizer=embedded:teacher"]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = unlike(tmp_path_factory.mktemp("foreign"))
    return ["student=hf", f"student.name={folder}", *SHORT, *CHUNKS]


def test_chunks_are_those_of_a_local_teacher(
    stub: Stub, student: list[str], distillkit: CommandLine
) -> None:
    found = []
    for name, typed in (("local", []), ("served", served(stub))):
        result = distillkit("train", *student, *typed, f"name={name}")
        assert result.code == 0, result.err
        lines = Path(f"outputs/train/{name}/metrics.jsonl").read_text().splitlines()
        found.append([row["loss"] for row in map(json.loads, lines) if "loss" in row])
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert len(stub.scored) == 12
    assert json.loads(Path("outputs/train/served/summary.json").read_text())["teacher_costs"][
        "tokens"
    ]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["teacher.tokenizer=null"], "teacher.tokenizer=null is the student's"),
        (["policy=seq_kd"], "would write in its own ids"),
        (["support=shared_ids"], "support=shared_ids compares more entries"),
        (["support=teacher_top_k"], "different tokenizers"),
    ],
)
def test_what_a_server_of_another_tokenizer_cannot_do_is_one_sentence(
    typed: list[str], words: str, stub: Stub, student: list[str], distillkit: CommandLine
) -> None:
    result = distillkit("train", *student, *served(stub), *typed)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
