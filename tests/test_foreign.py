"""Teachers of another tokenizer through the command line: what trains, and what is refused."""

import json
from pathlib import Path

import pytest

from distillkit.compose import compose

from .conftest import CommandLine
from .foreign import pieces, unlike
from .tiny import save

SHORT = ["debug=smoke", "tracker=none", "evaluation.test=4", "steps=2", "loop.batch_size=4"]
LONG = ["rollout.max_new_tokens=96", "policy=off_policy"]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A random student of bytes under the embedded teacher, as it is typed."""
    folder = unlike(tmp_path_factory.mktemp("foreign"))
    return ["student=hf", f"student.name={folder}", *SHORT]


@pytest.mark.parametrize(
    "typed",
    [
        ["support=aligned"],
        ["support=aligned", "support.temperature=10", "policy=on_policy", "divergence=reverse_kl"],
        ["support=aligned", "policy=seq_kd", "loop.collect=2"],
        ["support=aligned", "objective=kd"],
        ["support=ranked", "divergence=tvd", "objective.control=shuffled_teacher"],
        ["support=ranked", "support.k=30"],
        ["objective=sft", "policy=seq_kd"],
    ],
    ids=" ".join,
)
def test_a_student_of_bytes_learns_from_a_teacher_of_words(
    typed: list[str], student: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    given = [*student, *LONG, *typed, f"output={tmp_path}", "name=run", "evaluation.every=0"]
    result = distillkit("train", *given)
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "train/run/summary.json").read_text())
    assert summary["teacher"]["nll"] != summary["student_after"]["nll"]
    rows = [json.loads(x) for x in (tmp_path / "train/run/metrics.jsonl").read_text().splitlines()]
    assert all(row["loss"] > 0 for row in rows)


def test_tokens_that_both_have_are_compared(tmp_path: Path, distillkit: CommandLine) -> None:
    folder = save(tmp_path / "pieces", tokenizer=pieces(), vocab_size=400, context=512)
    given = [f"student.name={folder}", "student=hf", *SHORT, *LONG, "support=shared_ids"]
    more = ["objective.teacher_temperature=2", f"output={tmp_path}", "name=run"]
    result = distillkit("train", *given, *more)
    assert result.code == 0, result.err
    rows = [json.loads(x) for x in (tmp_path / "train/run/metrics.jsonl").read_text().splitlines()]
    assert 0 < rows[0]["loss"] < 30
    doctor = distillkit("doctor", *given, more[1])
    assert doctor.code == 0, doctor.out
    assert "of the student's" in " ".join(doctor.out.split())


def test_seq_kd_learns_the_teachers_text_in_the_students_ids(
    student: list[str], tmp_path: Path
) -> None:
    from distillkit.core.types import Author
    from distillkit.programs.train.assemble import assemble
    from distillkit.programs.train.authors import ready_authors

    given = [*student, "objective=sft", "policy=seq_kd", f"output={tmp_path}"]
    run = compose("train", given).run
    parts = assemble(run)
    asked = parts.train[:4]
    authors = ready_authors(run, parts, asked, poll=lambda: None, say=lambda _: None)
    written = authors[Author.teacher].write(asked, step=0)
    ours, theirs = parts.sides.student, parts.sides.teacher
    assert theirs is not None
    for response in written:
        text = ours.tokenizer.decode(response.tokens, skip_special_tokens=True)
        assert theirs.tokenizer.decode(theirs.prompts.text_ids(text)) == text
        assert (response.tokens[-1] == ours.end_id) is not response.truncated
    assert any(not response.truncated for response in written)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ([], "different tokenizers"),
        ([], "or with objective=divergence support=aligned compares chunks of text"),
        (["objective=sampled_kl", "policy=on_policy"], "support=aligned compares chunks"),
        (["support=sampled"], "different tokenizers"),
        (["support=aligned", "policy=teacher_mixed"], "draws every token from two models at once"),
        (["policy=teacher_mixed"], "different tokenizers"),
        (["support=aligned", "objective.control=shuffled_teacher"], "that is of another chunk"),
        (["support=aligned", "objective.teacher_noise=1"], "objective.teacher_noise=1.0 is added"),
        (["support=aligned", "objective.teacher_temperature=2"], "or use support.temperature"),
        (["support=aligned", "support.temperature=0"], "support.temperature must be above 0"),
        (["support=ranked"], "divergence=forward_kl is infinite where one side"),
        (["support=ranked", "support.k=258"], "support.k=258 leaves no other rank"),
        (["support=shared_ids"], "every token of student.name is one of the other model's too"),
        (["support=aligned", "placement=sharded"], "cannot be had with placement=sharded yet"),
        (["support=aligned", "teacher=self", "student.adapter.rank=2"], "teacher=self has the"),
        (["support=aligned", "objective=sft"], "support=aligned has no effect with objective=sft"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_done_is_one_sentence(
    typed: list[str], words: str, student: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    policy = [] if any(each.startswith("policy=") for each in typed) else LONG[1:]
    result = distillkit("train", *student, *LONG[:1], *policy, *typed, f"output={tmp_path}")
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "train").exists()


def test_other_verbs_say_that_they_need_one_tokenizer(
    student: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    refused = distillkit("estimate", *student, "support=aligned", f"output={tmp_path}")
    assert refused.code == 2
    assert "estimators are compared on one vocabulary" in refused.err
    refused = distillkit("undo-iterate", "objective=kd", "support=aligned", f"output={tmp_path}")
    assert refused.code == 2
    assert "support=aligned is not for undo-iterate" in refused.err
    refused = distillkit("osd", "support=aligned", f"output={tmp_path}")
    assert refused.code == 2
    assert "a draft proposes the target's own ids" in refused.err


def test_doctor_tells_what_two_tokenizers_share(
    student: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    given = [*student, *LONG, "support=aligned", f"output={tmp_path}"]
    result = distillkit("doctor", *given)
    assert result.code == 0, result.out
    said = " ".join(result.out.split())
    assert "256 tokens are the same bytes on both sides, 100% of the student's 256" in said
    assert "100% of" in said
    assert "lie in chunks that the teacher has too" in said
    assert "each side ends its own text" in said


def test_an_evaluation_measures_all_three_and_compares_none(
    student: list[str], tmp_path: Path, distillkit: CommandLine
) -> None:
    given = [*student, *LONG, "support=aligned", f"output={tmp_path}", "name=run"]
    assert distillkit("train", *given).code == 0
    run = f"run={tmp_path}/train/run"
    result = distillkit("eval", run, "metric=perplexity", "metric.perplexity.texts=[dataset]")
    assert result.code == 0, result.err
    refused = distillkit("eval", run, "metric=agreement", "limit=4")
    assert refused.code == 2
    assert "different tokenizers" in refused.err
