"""A served teacher through the command line: the same training, and one sentence for each fault."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CommandLine
from tests.served.stub import NAME, Stub

SMOKE = ["debug=smoke", "tracker=none", "evaluation.test=4", "steps=4", "device=cpu"]
TOP = ["support=teacher_top_k", "support.k=8"]


def served(stub: Stub, *more: str) -> list[str]:
    return [
        *("teacher=served", f"teacher.url={stub.url}", f"teacher.model={NAME}"),
        *("teacher.prompt=plain", *more),
    ]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub().serving() as running:
        yield running


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("what", "near"),
    [
        ([*TOP, "divergence=jsd", "beta=0.3", "policy=mixed", "lmbda=0.5"], 1e-5),
        (["support=student_top_k", "support.k=8", "divergence=forward_kl"], 1e-5),
        pytest.param(
            ["objective=sampled_kl", "policy=on_policy", "loop.collect=2"],
            1e-5,
            marks=pytest.mark.slow,
        ),
        # One minus a probability near 1 knows the rest to some 1e-7 and no better.
        pytest.param(
            ["support=sampled", "divergence=reverse_kl", "policy=on_policy"],
            1e-3,
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda what: what[0] if isinstance(what, list) else "",
)
def test_a_served_teacher_teaches_what_a_local_one_does(
    what: list[str], near: float, stub: Stub, distillkit: CommandLine, tmp_path: Path
) -> None:
    """Trap 25: a server whose scores are not those of the trainer's tokens."""
    stub.scale_out = stub.v2 = True
    typed = [*what, *SMOKE, f"output={tmp_path}"]
    local = distillkit("train", "teacher=embedded", *typed, "name=local")
    assert local.code == 0, local.err
    asked = distillkit("train", *served(stub), *typed, "name=served")
    assert asked.code == 0, asked.err
    here, there = (rows(tmp_path / "train" / name) for name in ("local", "served"))
    assert len(here) == len(there) > 4
    for ours, theirs in zip(here, there, strict=True):
        assert theirs == pytest.approx(ours, rel=near, abs=1e-6)
    # Nothing is asked twice, in any phase, and every token was ours.
    assert len(set(stub.scored)) == len(stub.scored) > 0


FAULTS = {
    "other tokenizer": "splits a text into other ids than the student's tokenizer",
    "other template": "renders a chat otherwise than the student's tokenizer",
    "wrong ids": "read the id",
    "no ids": "did not send back the ids that it read",
    "nan": "log-probabilities that are not finite",
    "missing entry": "which are not its 8 likeliest",
    "no drawn": "sent no score of the token",
    "short": "sent scores of 16 tokens where 17 were asked for",
    "shifted": "scored the first token, before which nothing stands",
    "not normalised": "add up to",
    "ignores": "transformers serve passes over them",
    "unreal id": "which no token of student.name has",
    "huge": "a body of more than",
    "400": "Mend what it names in teacher",
    "429": "gave no reply for 0.4 s",
    "500": "gave no reply for 0.4 s",
    "slow bytes": "no whole reply within 1 s",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_before_anything_is_learnt(
    fault: str, stub: Stub, distillkit: CommandLine, tmp_path: Path
) -> None:
    """Traps 21 and 25: another tokenizer or template, or scores of other tokens than ours."""
    stub.fault = fault
    typed = served(stub, "teacher.prompt=chat", "teacher.patience_seconds=0.4", "teacher.timeout=1")
    result = distillkit("train", *typed, *TOP, *SMOKE, f"output={tmp_path}")
    assert result.code == 2, result.err
    assert FAULTS[fault] in result.err
    assert "teacher" in result.err
    assert stub.url in result.err
    assert result.err.count("\n") == 1
    assert [file.read_text() for file in tmp_path.glob("train/*/metrics.jsonl")] in ([], [""])


REFUSED = [
    (["support.k=200"], "support.k=200 asks for more entries than the server of teacher.url tells"),
    (["support.k=200"], "Start it again with --max-logprobs 201"),
    (["teacher.model=other"], f"teacher.model=other is not served at http://127.0.0.1:.*{NAME}"),
    (["teacher.version=0.33.0"], "teacher.version=0.33.0, but .* runs vLLM 0.32.0"),
    (["teacher.context=4096"], "teacher.context=4096 is more than the 512 tokens"),
    (["support=student_top_k"], "Start it again with --enable-scale-out"),
    (["teacher.reference=embedded:student"], "another model is served as teacher.model"),
    (["support=full", "~support.k"], "support=full compares more entries than teacher=served"),
    (["objective.teacher_temperature=2"], "teacher_temperature=2.0 divides logits"),
]


@pytest.mark.parametrize(("typed", "words"), REFUSED, ids=[" ".join(typed) for typed, _ in REFUSED])
def test_what_the_server_cannot_do_is_refused(
    typed: list[str], words: str, stub: Stub, distillkit: CommandLine, tmp_path: Path
) -> None:
    """Trap 36: a limit below k. Trap 24: servers heed no temperature where they score."""
    given = [*served(stub), *TOP, *SMOKE, f"output={tmp_path}"]
    fields = {each.partition("=")[0].strip("~") for each in typed}
    given = [each for each in given if each.partition("=")[0] not in fields]
    result = distillkit("train", *given, *(each for each in typed if each[0] != "~"))
    assert result.code == 2, result.out
    assert_matches(words, result.err)
    assert not (tmp_path / "train").exists()


def assert_matches(words: str, text: str) -> None:
    import re

    assert re.search(words.replace("(", r"\("), text), text
    assert text.count("\n") == 1
