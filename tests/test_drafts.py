"""A draft beside whoever writes, through the command line: the same text, and its own identity."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from distillkit.compose import compose
from distillkit.core.errors import ConfigError
from tests.models.test_loading import tokenizer_with
from tests.tiny import save

from .conftest import SMOKE, CommandLine

DRAFT = "teacher.draft=embedded:student"
SEQ_KD = ("policy=seq_kd", "evaluation.every=0", "evaluation.test=0")


def kept(folder: Path) -> list[list[Any]]:
    """Tokens of the teacher's texts."""
    with closing(sqlite3.connect(folder / "outputs" / "kept" / "texts.sqlite")) as store:
        rows = store.execute("select value from kept order by key").fetchall()
    return [json.loads(value) for (value,) in rows]


def summary(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / "outputs" / "train" / name / "summary.json").read_text()))


def test_a_teacher_writes_the_same_greedy_lessons_with_a_draft_and_they_are_kept_apart(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    for name, more in {"alone": [], "drafted": [DRAFT], "again": [DRAFT, "steps=3"]}.items():
        done = distillkit("train", *SMOKE, *SEQ_KD, f"name={name}", *more)
        assert done.code == 0, done.err
    alone, drafted = kept(tmp_path)
    assert alone == drafted


def test_the_drafts_weights_and_proposals_are_part_of_what_a_text_is_kept_under(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    drawn = ("teacher_rollout.temperature=1", DRAFT)
    for name, more in {
        "five": [],
        "two": ["teacher.proposals=2"],
        "other": ["teacher.draft=embedded:pupil"],
    }.items():
        done = distillkit("train", *SMOKE, *SEQ_KD, *drawn, f"name={name}", *more)
        assert done.code == 0, done.err
    texts = kept(tmp_path)
    assert len({json.dumps(text) for text in texts}) == 3


def test_a_run_without_a_draft_is_the_run_that_it_was() -> None:
    prints = {
        compose("train", list(typed)).fingerprint
        for typed in ([], ["teacher.draft=null"], [DRAFT], [DRAFT, "teacher.proposals=2"])
    }
    assert len(prints) == 3


def test_undo_and_eval_write_with_the_draft(distillkit: CommandLine, tmp_path: Path) -> None:
    done = distillkit("train", *SMOKE, "name=run", "evaluation.every=0", DRAFT)
    assert done.code == 0, done.err
    found = distillkit("eval", "run=outputs/train/run", "limit=4", "metric=[agreement,speculation]")
    assert found.code == 0, found.err
    assert "alpha" in found.out
    lessons = distillkit(
        "undo-iterate",
        *SMOKE,
        "name=lessons",
        "teacher=embedded",
        DRAFT,
        "elsewhere=null",
        "prompt.first='{{ question }}'",
        "objective=divergence",
        "iterations=1",
        "evidence.wrong=1",
        "evidence.right=0",
        "evaluation.every=0",
        "rollout.max_new_tokens=32",
        "writing.max_new_tokens=48",
        *(f"controls.{each}=false" for each in ("one_shot", "untargeted", "length_matched")),
    )
    assert lessons.code == 0, lessons.err


@pytest.mark.parametrize("objective", ["divergence", "minillm", "sampled_kl"])
def test_a_student_writes_with_a_draft(
    distillkit: CommandLine, tmp_path: Path, objective: str
) -> None:
    done = distillkit(
        "train",
        *SMOKE,
        "name=run",
        "policy=on_policy",
        "writer=speculative",
        "writer.draft=embedded:pupil",
        f"objective={objective}",
        "evaluation.test=0",
    )
    assert done.code == 0, done.err
    rows = (tmp_path / "outputs/train/run/metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["student_share"] == 1


def test_a_draft_that_cannot_be_is_one_sentence(distillkit: CommandLine, tmp_path: Path) -> None:
    def swap(content: dict) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary["A"], vocabulary["B"] = vocabulary["B"], vocabulary["A"]

    save(tmp_path / "other", "llama", tokenizer=tokenizer_with(tmp_path, swap))
    for typed, said in (
        (["teacher.draft=./nowhere"], "teacher.draft=./nowhere"),
        (["teacher.draft=other"], "teacher.name and teacher.draft"),
        (["writer=speculative", "writer.draft=./nowhere"], "writer.draft=./nowhere"),
        (["writer=speculative", "writer.draft=other"], "student.name and writer.draft"),
        ([DRAFT, "teacher.proposals=0"], "teacher.proposals"),
        (["writer=speculative", "writer.draft=a", "writer.proposals=0"], "writer.proposals"),
    ):
        done = distillkit("train", *SMOKE, "name=run", "policy=on_policy", *typed)
        assert done.code == 2, (typed, done.out)
        assert said in done.err
        assert len(done.err.strip().splitlines()) == 1
        assert not (tmp_path / "outputs/train").exists()


def test_a_speculative_writer_without_a_draft_is_refused() -> None:
    with pytest.raises(ConfigError, match="writer.draft"):
        compose("train", ["writer=speculative"])
