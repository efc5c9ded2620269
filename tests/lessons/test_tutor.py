"""The rule-based teacher: what it reads out of the evidence, and what it writes."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from distillkit.core.errors import ConfigError
from distillkit.core.keeper import Keeper
from distillkit.core.store import Store
from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.gsm8k import Gsm8k
from distillkit.datasets.rationale import Detail, Step, possible, write_rationale
from distillkit.datasets.wording import Operation
from distillkit.lessons.base import Request, ValidationRecord
from distillkit.lessons.tutor import RuleTutor, Tutor, details_of

WORLD = Arithmetic(train=400)
PROBLEMS = WORLD.examples(Split.train)
STEPS = (
    Step(43, Operation.subtract, 15),
    Step(28, Operation.multiply, 3),
    Step(84, Operation.add, 9),
)


def keeper(folder: Path) -> Keeper:
    return Keeper(
        Store(folder / "replies.sqlite"),
        batch_size=64,
        poll=lambda: None,
        progress=lambda *_: None,
        say=lambda _: None,
    )


def lessons(folder, requests, *, seed=0):
    tutor = RuleTutor(Tutor(seed=seed), WORLD)
    return [reply.text for reply in tutor.write(requests, keeper=keeper(folder))]


def with_operations(*operations: str):
    """A problem of just these operations, in any order."""
    return next(
        example
        for example in PROBLEMS
        if sorted(step.operation for step in WORLD.steps(example)) == sorted(operations)
    )


def wrong(answer: str, *, correct: bool = False) -> ValidationRecord:
    return ValidationRecord("v", "How many?", "1 + 1 = 2\n#### 2", answer, correct)


def details(example, text):
    return details_of(WORLD.steps(example), text)


EXAMPLE = with_operations("add", "multiply")


def rewritten(folder, *evidence, example=EXAMPLE, told=(), **fields):
    before = write_rationale(WORLD.steps(example), told)
    request = Request(example, (), lessons=(before,), evidence=evidence, **fields)
    return details(example, lessons(folder, [request])[0])


def test_the_first_lesson_is_one_line_an_operation(tmp_path):
    (text,) = lessons(tmp_path, [Request(EXAMPLE, ())])
    assert text == EXAMPLE.reference
    assert text.count("=") == 2


@pytest.mark.parametrize("example", PROBLEMS[:40], ids=lambda example: example.id)
def test_every_lesson_with_any_details_is_right_and_true(example):
    steps = WORLD.steps(example)
    text = write_rationale(steps, possible(steps))
    assert WORLD.is_correct(example, text)
    for line in text.splitlines()[1:-1]:
        left, right = line.split(" = ")
        assert eval(left) == int(right)  # our own digits and signs


def test_the_plan_comes_first_as_one_expression():
    assert write_rationale(STEPS, [Detail.plan]).splitlines()[0] == "((43 - 15) * 3) + 9"
    assert eval("((43 - 15) * 3) + 9") == STEPS[-1].result


def test_a_check_undoes_its_step():
    assert write_rationale(STEPS[:1], [Detail.check]) == "43 - 15 = 28\n28 + 15 = 43\n#### 28"


def test_subtraction_is_spelled_out_column_by_column_with_borrowing():
    text = write_rationale((Step(503, Operation.subtract, 87),), [Detail.subtract])
    assert text == "13 - 7 = 6\n10 - 9 = 1\n5 - 1 = 4\n503 - 87 = 416\n#### 416"


def test_the_columns_of_a_subtraction_are_the_digits_of_its_result():
    for left in range(1, 1000, 7):
        for right in range(1, left + 1, 11):
            lines = write_rationale((Step(left, Operation.subtract, right),), [Detail.subtract])
            columns = [line.split(" = ")[1] for line in lines.splitlines()[:-2]]
            assert "".join(reversed(columns)) == str(left - right).zfill(len(str(left)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("12 * 3 = 35\n35 + 1 = 36\n#### 36", {Detail.multiply}),
        ("12 + 3 = 16\n16 * 2 = 33\n#### 33", {Detail.add}),
        ("12 + 3 = 15\n#### 15", {Detail.plan}),
        ("12 - 3 = 8\n#### 8", set()),
        ("no idea", set()),
    ],
)
def test_the_first_false_line_names_the_remedy(tmp_path, answer, expected):
    """A false subtraction asks for nothing in a problem without one."""
    assert rewritten(tmp_path, wrong(answer)) == expected


def test_right_answers_ask_for_nothing(tmp_path):
    assert rewritten(tmp_path, wrong("1 * 1 = 2\n#### 2", correct=True)) == set()


def test_the_students_answer_to_the_question_itself_counts(tmp_path):
    bad = "9 * 9 = 80\n#### 80"
    assert rewritten(tmp_path, answer=bad, correct=False) == {Detail.multiply}
    assert rewritten(tmp_path, answer=bad, correct=True) == set()


def test_what_was_spelled_out_stays(tmp_path):
    found = rewritten(tmp_path, wrong("1 * 1 = 2\n#### 2"), told=[Detail.add])
    assert found == {Detail.add, Detail.multiply}


def test_without_evidence_one_detail_is_added_by_chance_and_all_come_up(tmp_path):
    pairs = [e for e in PROBLEMS if len({s.operation for s in WORLD.steps(e)}) == 2][:60]
    requests = [Request(e, (), lessons=(e.reference,)) for e in pairs]
    found = [details(e, text) for e, text in zip(pairs, lessons(tmp_path, requests), strict=True)]
    assert all(len(each) == 1 for each in found)
    assert set().union(*found) >= {Detail.plan, Detail.check, Detail.add, Detail.multiply}
    other = lessons(tmp_path, requests, seed=1)
    assert other != lessons(tmp_path, requests)


def test_a_length_asked_for_is_reached_with_details_by_chance(tmp_path):
    draw = random.Random(0)
    for example in PROBLEMS[:30]:
        steps = WORLD.steps(example)
        words = len(write_rationale(steps, draw.sample(possible(steps), 2)).split())
        request = Request(example, (), lessons=(example.reference,), words=words)
        (text,) = lessons(tmp_path, [request])
        assert len(text.split()) >= words
        least = min(
            len(write_rationale(steps, details(example, text) - {one}).split())
            for one in details(example, text)
        )
        assert least < words


def test_a_text_is_written_once(tmp_path):
    requests = [Request(example, ()) for example in PROBLEMS[:20]]
    tutor, first, second = RuleTutor(Tutor(), WORLD), keeper(tmp_path), keeper(tmp_path)
    texts = tutor.write(requests, keeper=first)
    assert tutor.write(requests, keeper=second) == texts
    assert (first.made["lessons"], second.made["lessons"], second.reused["lessons"]) == (20, 0, 20)


def test_other_evidence_is_another_request(tmp_path):
    shared, tutor = keeper(tmp_path), RuleTutor(Tutor(), WORLD)
    request = Request(EXAMPLE, (), lessons=(EXAMPLE.reference,), evidence=(wrong("no idea"),))
    tutor.write([request], keeper=shared)
    tutor.write([replace(request, evidence=(wrong("1 + 1 = 3\n#### 3"),))], keeper=shared)
    assert shared.made["lessons"] == 2


def test_another_dataset_is_refused():
    with pytest.raises(ConfigError, match="teacher=tutor knows only the embedded world"):
        RuleTutor(Tutor(), Gsm8k())
