"""Lessons: joined with the dataset that they were written for, and judged by it."""

import json
from pathlib import Path

import pytest

from distillkit.compose import compose
from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.gsm8k import Gsm8k
from distillkit.datasets.jsonl import AnswerKind, JsonLines
from distillkit.datasets.lessons import DESCRIPTION, Lessons, describe, written_for
from distillkit.datasets.math import Math
from distillkit.datasets.rationale import Style
from distillkit.datasets.wording import Domain, Operation

WORLD = Arithmetic(
    seed=3,
    domain=Domain.journey,
    operations=[Operation.add, Operation.divide],
    style=Style.expanded,
    train=4,
    validation=3,
    test=2,
)


def row(example, lesson, **fields):
    return {"id": example.id, "question": example.question, "lesson": lesson, **fields}


def lessons(folder, rows, *, base=WORLD, **settings):
    """A lessons file of the rows, beside a description of the base."""
    describe(folder, base)
    (folder / "lessons.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    return Lessons(path=str(folder / "lessons.jsonl"), **settings)


@pytest.mark.parametrize(
    "dataset",
    [
        WORLD,
        Arithmetic(),
        Gsm8k(path="somewhere", validation_share=7, train=9),
        JsonLines(path="rows.jsonl", answer_field="a", answer_kind=AnswerKind.number),
    ],
)
def test_a_described_dataset_comes_back_as_it_was(tmp_path, dataset):
    describe(tmp_path, dataset)
    again = written_for(tmp_path)
    assert again == dataset
    # StrEnums equal plain text, which no other test would tell from them.
    kinds = [[type(getattr(each, name)) for name in each.__slots__] for each in (again, dataset)]
    assert kinds[0] == kinds[1]


def test_lessons_replace_the_references_of_their_questions(tmp_path):
    questions = WORLD.examples(Split.train)
    dataset = lessons(tmp_path, [row(questions[2], "two"), row(questions[0], "zero")])
    found = dataset.examples(Split.train)
    assert [example.reference for example in found] == ["two", "zero"]
    for example, question in zip(found, (questions[2], questions[0]), strict=True):
        assert example.prompt == question.prompt
        assert (example.id, example.answer) == (question.id, question.answer)


def test_the_other_splits_are_those_of_the_dataset(tmp_path):
    dataset = lessons(tmp_path, [row(WORLD.examples(Split.train)[0], "work")])
    for split in (Split.validation, Split.test):
        assert dataset.examples(split) == WORLD.examples(split)
        short = lessons(tmp_path, [row(WORLD.examples(Split.train)[0], "work")], **{split: 1})
        assert short.examples(split) == WORLD.examples(split)[:1]


def test_answers_are_judged_as_the_dataset_judges_them(tmp_path):
    rows = [{"id": "a", "question": "Half?", "rationale": "", "answer": "\\frac{1}{2}"}]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(rows[0]) + "\n")
    base = Math(path=str(tmp_path), validation_share=0)
    (example,) = base.examples(Split.train)
    dataset = lessons(tmp_path, [row(example, "work")], base=base)
    assert dataset.extract("It is $\\boxed{0.5}$.") == "0.5"
    # Alike in meaning alone: only the judge of MATH sees it.
    assert dataset.is_correct(example, "It is $\\boxed{0.5}$.")
    assert not dataset.is_correct(example, "It is $\\boxed{0.6}$.")


def test_lessons_of_several_rounds_keep_ids_apart(tmp_path):
    first, second = WORLD.examples(Split.train)[:2]
    rows = [
        row(first, "a", iteration=1),
        row(second, "b", iteration=1),
        row(first, "c", iteration=2),
        row(first, "d", iteration=0),
    ]
    dataset = lessons(tmp_path, rows)
    found = {example.id: example.reference for example in dataset.examples(Split.train)}
    assert found == {first.id: "a", second.id: "b", f"{first.id}@2": "c", f"{first.id}@0": "d"}
    assert len(lessons(tmp_path, rows, train=3).examples(Split.train)) == 3


def test_another_description_of_a_folder_counts_at_once(tmp_path):
    dataset = lessons(tmp_path, [row(WORLD.examples(Split.train)[0], "work")])
    assert len(dataset.examples(Split.test)) == 2
    describe(tmp_path, Arithmetic(test=5))
    assert len(dataset.examples(Split.test)) == 5


FIRST = WORLD.examples(Split.train)[0]
WRONG_ROWS = [
    ([], "has no lesson"),
    ([{"question": "?", "lesson": "work"}], "row number 1 has no id"),
    ([row(FIRST, " ")], f"row {FIRST.id} has no lesson"),
    ([{"id": FIRST.id}], f"row {FIRST.id} has no lesson"),
    ([row(WORLD.examples(Split.validation)[0], "work")], "journey-validation-0 is no training"),
    ([{"id": FIRST.id, "question": "Why?", "lesson": "work"}], "another question"),
    ([row(FIRST, "a", iteration=1), row(FIRST, "b", iteration=1)], "comes twice for iteration=1"),
    ([row(FIRST, "a"), row(FIRST, "b")], "comes twice for iteration=None"),
]


@pytest.mark.parametrize(("rows", "complaint"), WRONG_ROWS, ids=[case[1] for case in WRONG_ROWS])
def test_a_wrong_row_is_named(tmp_path, rows, complaint):
    dataset = lessons(tmp_path, rows)
    with pytest.raises(DataError, match=complaint) as error:
        dataset.examples(Split.train)
    assert f"dataset.path={tmp_path}" in str(error.value)


WRONG_DESCRIPTIONS = [
    ("{", "describes no dataset of this version"),
    ("[]", "describes no dataset of this version"),
    ('{"dataset": "nope", "fields": {}}', "dataset/nope"),
    ('{"dataset": "arithmetic"}', "fields"),
    ('{"dataset": "arithmetic", "fields": {"nope": 1}}', "nope"),
    ('{"dataset": "arithmetic", "fields": {"style": "tidy"}}', "tidy"),
    ('{"dataset": "arithmetic", "fields": {"digits": 9}}', "dataset.digits=9"),
    ('{"dataset": "jsonl", "fields": {}}', "path"),
    ('{"dataset": "jsonl", "fields": {"path": "gone"}}', "lessons.json: dataset.path=gone is not"),
]


@pytest.mark.parametrize(("text", "complaint"), WRONG_DESCRIPTIONS)
def test_a_wrong_description_is_named(tmp_path, text, complaint):
    (tmp_path / "lessons.jsonl").write_text(json.dumps(row(FIRST, "work")) + "\n")
    (tmp_path / DESCRIPTION).write_text(text)
    with pytest.raises(DataError, match=complaint) as error:
        Lessons(path=str(tmp_path / "lessons.jsonl")).examples(Split.train)
    assert str(tmp_path / DESCRIPTION) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_missing_description_are_named(tmp_path):
    dataset = Lessons(path=str(tmp_path / "lessons.jsonl"))
    with pytest.raises(DataError, match="is not a file"):
        dataset.examples(Split.train)
    (tmp_path / "lessons.jsonl").write_text(json.dumps(row(FIRST, "work")) + "\n")
    with pytest.raises(DataError, match=r"lessons\.json cannot be read \(No such file"):
        dataset.examples(Split.train)


def test_a_cap_below_one_is_refused():
    with pytest.raises(ConfigError, match="dataset.train=0"):
        Lessons(path="lessons.jsonl", train=0)


def test_a_student_trains_on_lessons(distillkit):
    folder = Path("lessons")
    folder.mkdir()
    base = Arithmetic(train=16, validation=8, test=8)
    questions = base.examples(Split.train)
    lessons(folder, [row(each, f"Well.\n{each.reference}") for each in questions], base=base)
    typed = ["dataset=lessons", "dataset.path=lessons/lessons.jsonl", "experiment=sft", "name=run"]
    result = distillkit("train", "tracker=none", "debug=smoke", *typed)
    assert (result.code, result.err) == (0, "")
    summary = json.loads(Path("outputs/train/run/summary.json").read_text())
    assert summary["student_after"]["n"] == 8
    result = distillkit("eval", "run=outputs/train/run", "metric=accuracy")
    assert (result.code, result.err) == (0, "")


def test_a_runs_fingerprint_is_of_the_lessons_and_not_of_their_place(tmp_path):
    def fingerprint(folder, lesson):
        folder.mkdir(exist_ok=True)
        dataset = lessons(folder, [row(WORLD.examples(Split.train)[0], lesson)])
        return compose("train", ["dataset=lessons", f"dataset.path={dataset.path}"]).fingerprint

    first = fingerprint(tmp_path / "a", "one")
    assert fingerprint(tmp_path / "b", "one") == first
    assert fingerprint(tmp_path / "a", "two") != first
    describe(tmp_path / "b", Arithmetic())
    there = f"dataset.path={tmp_path / 'b' / 'lessons.jsonl'}"
    assert compose("train", ["dataset=lessons", there]).fingerprint != first
