"""Authors: each closes its text as it should, keeps the order, and keeps the ids."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch

from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Response
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling
from distillkit.training.authors import DatasetAuthor, KeptAuthor, WritingAuthor, write_rollouts
from distillkit.training.kept_text import NAME, kept_text
from distillkit.writers.local import LocalWriter
from tests.tiny import build, example
from tests.training.parts import EXAMPLES, mixture_author, student_author

SAMPLING = Sampling(max_new_tokens=7, batch_size=2)


def test_a_reference_is_closed_by_exactly_one_end_token() -> None:
    """Trap 19: also where the padding is the end token."""
    student = build()
    for item, response in zip(
        EXAMPLES, DatasetAuthor(student, [student]).write(EXAMPLES, step=0), strict=True
    ):
        text = student.tokenizer(item.reference, add_special_tokens=False)["input_ids"]
        assert response.tokens == (*text, student.end_id)
        assert response.tokens.count(student.end_id) == 1
        assert not response.truncated
        assert response.author is Author.dataset


def test_a_reference_cut_by_the_context_carries_no_end_token() -> None:
    """Trap 19: nor does its prompt lose a token (trap 22)."""
    student = build()
    whole = DatasetAuthor(student, [student]).write(EXAMPLES, step=0)[3]
    prompt = student.prompt_length(EXAMPLES[3])
    for spare in (0, 1, 5):
        student = build(context=prompt + len(whole.tokens) - spare)
        response = DatasetAuthor(student, [student]).write(EXAMPLES[3:], step=0)[0]
        assert response.tokens == whole.tokens[: len(whole.tokens) - spare]
        assert response.truncated == (spare > 0)
        assert (response.tokens[-1] == student.end_id) == (spare == 0)


def test_a_reference_also_fits_the_teachers_context_after_the_teachers_prompt() -> None:
    """Trap 21: a longer format leaves the teacher less room than the student has."""
    student = build(context=80)
    teacher = build("gpt2", side=Teacher, prompt=PromptStyle.alpaca, context=160)
    asked = example("How many?", " one two three four five six" * 20)
    room = 160 - len(teacher.prompts.prompt_ids(asked))
    assert 0 < room < 80 - len(student.prompts.prompt_ids(asked))
    response = DatasetAuthor(student, [student, teacher]).write([asked], step=0)[0]
    assert len(response.tokens) == room
    assert response.truncated


def test_a_reference_is_closed_by_the_end_that_the_models_agreed_on() -> None:
    """Trap 20."""
    student = build()
    student.end_id = 40
    assert all(
        r.tokens[-1] == 40 for r in DatasetAuthor(student, [student]).write(EXAMPLES, step=0)
    )


def test_the_student_writes_the_ids_of_its_own_steps_generator() -> None:
    """Trap 26: a function of seed and step, so a resumed run writes the same."""
    student = build()
    writer = student_author(student, SAMPLING, seed=3)
    texts = {step: writer.write(EXAMPLES, step=step) for step in (0, 1)}
    prompts = [student.prompts.prompt_ids(item) for item in EXAMPLES]
    for step, responses in texts.items():
        expected = generate(student, prompts, SAMPLING, seed=child_seed(3, "rollout", step))
        assert [r.tokens for r in responses] == [text.tokens for text in expected]
        assert [r.truncated for r in responses] == [text.truncated for text in expected]
        assert {r.author for r in responses} == {Author.student}
    assert texts[0] != texts[1]
    assert student_author(student, SAMPLING, seed=3).write(EXAMPLES, step=1) == texts[1]


def test_the_student_writes_as_it_is_now() -> None:
    student = build()
    writer = student_author(student, SAMPLING, seed=3)
    before = writer.write(EXAMPLES, step=0)
    with torch.no_grad():
        student.head.weight.neg_()
    assert writer.write(EXAMPLES, step=0) != before


@pytest.mark.parametrize(
    ("settings", "neutral"),
    [
        ({}, True),
        ({"temperature": 0.7}, False),
        ({"temperature": 0.0}, False),
        ({"top_k": 5}, False),
        ({"top_p": 0.9}, False),
        ({"min_p": 0.1}, False),
    ],
)
def test_the_students_own_log_probs_are_those_drawn_with_only_where_nothing_is_filtered(
    settings: dict, neutral: bool
) -> None:
    sampling = Sampling(max_new_tokens=7, **settings)
    assert sampling.neutral == neutral
    for response in student_author(build(), sampling, seed=3).write(EXAMPLES, step=0):
        assert len(response.log_probs) == len(response.tokens)
        assert response.of_student == (response.log_probs if neutral else ())
        assert response.of_teacher == ()


def mixing(student: LanguageModel, teacher: LanguageModel, share: float) -> WritingAuthor:
    return mixture_author(student, teacher, SAMPLING, share=share, seed=3)


def test_a_mixture_without_the_teacher_is_the_students_own_text() -> None:
    """With the draws of the same step, so that a share of 0 is a control, bit for bit."""
    student, teacher = build(), build("gpt2", side=Teacher, prompt=PromptStyle.alpaca, context=256)
    for step in (0, 1):
        alone = student_author(student, SAMPLING, seed=3).write(EXAMPLES, step=step)
        mixed = mixing(student, teacher, 0).write(EXAMPLES, step=step)
        assert {response.author for response in mixed} == {Author.mixture}
        for one, two in zip(alone, mixed, strict=True):
            assert (one.tokens, one.truncated) == (two.tokens, two.truncated)
            assert one.log_probs == two.log_probs == one.of_student == two.of_student
            assert len(two.of_teacher) == len(two.tokens)


def test_a_mixture_asks_each_model_in_its_own_format() -> None:
    """Each token's three log-probs are those of both models behind their own prompts."""
    student = build()
    teacher = build("gpt2", side=Teacher, prompt=PromptStyle.alpaca, context=256, seed=4)
    written = mixing(student, teacher, 0.4).write(EXAMPLES, step=1)
    for asked, response in zip(EXAMPLES, written, strict=True):
        logits = []
        for side in (student, teacher):
            text = [*side.prompts.prompt_ids(asked), *response.tokens]
            with torch.no_grad():
                rows = side.module(input_ids=torch.tensor([text])).logits[0].double()
            rows = rows[-len(response.tokens) - 1 : -1, : side.head.vocabulary].log_softmax(-1)
            logits.append(rows.gather(-1, torch.tensor(response.tokens)[:, None])[:, 0])
        ours, theirs = logits
        both = (0.6 * ours.exp() + 0.4 * theirs.exp()).log()
        kept = (response.log_probs, response.of_student, response.of_teacher)
        for found, expected in zip(kept, (both, ours, theirs), strict=True):
            assert found == pytest.approx(expected.tolist(), abs=2e-5)
    assert mixing(student, teacher, 0.4).write(EXAMPLES, step=1) == written
    assert mixing(student, teacher, 0.4).write(EXAMPLES, step=0) != written


def test_rollouts_keep_the_order_of_the_examples_whoever_wrote_them() -> None:
    kept = {
        item.id: Response((9, place), False, Author.teacher) for place, item in enumerate(EXAMPLES)
    }
    student = build()
    authors = {
        Author.dataset: DatasetAuthor(student, [student]),
        Author.student: student_author(student, SAMPLING, seed=0),
        Author.teacher: KeptAuthor(kept),
    }
    named = [Author.teacher, Author.student, Author.dataset, Author.teacher]
    rollouts = [*write_rollouts(EXAMPLES, named, authors=authors, step=0).values()]
    assert [item.example for item in rollouts] == EXAMPLES
    assert [item.response.author for item in rollouts] == named
    assert rollouts[0].response.tokens == (9, 0)
    assert rollouts[3].response.tokens == (9, 3)
    assert rollouts[2].response == authors[Author.dataset].write(EXAMPLES[2:3], step=0)[0]


def keep(
    folder: Path,
    teacher: LanguageModel,
    *,
    sampling: Sampling = SAMPLING,
    seed: int = 1,
    digest: str = "a",
    poll: Callable[[], None] = lambda: None,
    said: list[str] | None = None,
) -> dict[str, Response]:
    """The teacher's text to all examples, kept in a folder."""
    said = [] if said is None else said
    return kept_text(
        folder,
        EXAMPLES,
        teacher=teacher,
        writer=LocalWriter(teacher, Author.teacher),
        identity={"digest": digest},
        sampling=sampling,
        seed=seed,
        poll=poll,
        say=said.append,
    )


def test_kept_text_has_the_sampled_ids_and_is_written_once(tmp_path: Path) -> None:
    """Trap 26: ids are kept, not text; a second call reads them and asks no model."""
    teacher = build(side=Teacher)
    first = keep(tmp_path, teacher)
    assert list(first) == [item.id for item in EXAMPLES]
    assert {response.author for response in first.values()} == {Author.teacher}
    decoded = [teacher.tokenizer.decode(response.tokens) for response in first.values()]
    read_again = [tuple(teacher.tokenizer.encode(text)) for text in decoded]
    assert read_again != [response.tokens for response in first.values()]

    def refuse() -> None:
        raise AssertionError("the teacher was asked again")

    assert keep(tmp_path, teacher, poll=refuse) == first


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"digest": "b"}, {"sampling": Sampling(max_new_tokens=5)}], ids=str
)
def test_kept_text_of_other_weights_seed_or_sampling_is_written_anew(
    change: dict, tmp_path: Path
) -> None:
    teacher, said = build(side=Teacher), []
    keep(tmp_path, teacher)
    keep(tmp_path, teacher, said=said, **change)
    assert said[-1] == f"teacher wrote {len(EXAMPLES)} of {len(EXAMPLES)}"


@pytest.mark.parametrize("parts", [0, 1])
def test_kept_text_that_was_interrupted_goes_on_as_if_it_had_not_been(
    parts: int, tmp_path: Path
) -> None:
    """Each part has a seed of its own, so what is left is what would have come."""
    teacher, calls = build(side=Teacher), []
    whole = keep(tmp_path / "whole", teacher)

    def stop() -> None:
        calls.append(None)
        if len(calls) > 2 * parts:  # once before a part, once inside it
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path / "torn", teacher, poll=stop)
    said: list[str] = []
    assert keep(tmp_path / "torn", teacher, said=said) == whole
    assert said == ["teacher wrote 2 of 4", "teacher wrote 4 of 4"][parts:]


def test_kept_text_that_is_not_what_was_kept_is_written_again(tmp_path: Path) -> None:
    teacher = build(side=Teacher)
    whole = keep(tmp_path, teacher)
    with closing(sqlite3.connect(tmp_path / NAME)) as connection, connection:
        connection.execute("UPDATE kept SET value = ?", (b"[[[9], false], [[9], false]]",))
    said: list[str] = []
    assert keep(tmp_path, teacher, said=said) == whole
    assert said[0].startswith("warning: 2 texts of the teacher in")
    said.clear()
    assert keep(tmp_path, teacher, said=said) == whole
    assert said == []
