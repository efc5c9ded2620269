"""Equations are read out of what people and models write, and wrong answers sorted by them."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.equations import equations, false_equations
from distillkit.datasets.faults import Fault, fault_of
from distillkit.datasets.gsm8k import CALCULATOR_MARK
from distillkit.datasets.math import Math
from distillkit.datasets.rationale import Style

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "test.jsonl"


def found(text):
    return [(equation.text, equation.holds) for equation in equations(text)]


READ = [
    ("So 12 + 30 = 42.", "12 + 30 = 42"),
    ("12+30=42", "12 + 30 = 42"),
    ("12 + 30 + 5 = 47", "12 + 30 + 5 = 47"),
    ("(3 + 4) * 2 = 14", "(3 + 4) * 2 = 14"),
    ("18 − 2 × 3 = 12", "18 - 2 * 3 = 12"),
    ("3 x 4 = 12", "3 * 4 = 12"),
    ("3x4=12", "3 * 4 = 12"),
    ("12 ÷ 4 = 3", "12 / 4 = 3"),
    (r"\(5 \times 3 = 15\)", "5 * 3 = 15"),
    ("It is 1,200 * $2.50 = $3,000 a year", "1,200 * 2.50 = 3,000"),
    ("3 - 5 = -2", "3 - 5 = - 2"),
    ("-5 + 3 = -2", "- 5 + 3 = - 2"),
    ("$.5 + $.25 = $.75", ".5 + .25 = .75"),
    ("- 5 + 3 = 8", "5 + 3 = 8"),
    ("1. 5 + 3 = 8", "5 + 3 = 8"),
    ("**3 + 4 = 7**", "3 + 4 = 7"),
    ("3 + 4 = **7**", "3 + 4 = 7"),
    ("He has seven (3 + 4 = 7).", "3 + 4 = 7"),
    ("x = 7 - 3", None),
    ("x = 7 - 3 = 4", "7 - 3 = 4"),
    ("a total of 30 + 40 = 70 photos", "30 + 40 = 70"),
    ("5 apples + 3 apples = 8 apples in total", "5 + 3 = 8"),
    ("60 miles/hour * 2 hours = 120 miles", "60 * 2 = 120"),
    ("20% * 50 = 10", "20% * 50 = 10"),
    ("80% + 20% = 100%", "80% + 20% = 100%"),
    ("1/4 = 25%", "1 / 4 = 25%"),
    ("12 = 12", None),
    ("5 / 0 = 0", None),
    ("2 5 + 3 = 8", None),
    ("9" * 5000 + " + 1 = 5", None),
    ("1 + " * 500 + "1 = 3", None),
    ("5 * * 2 = 25", None),
    ("__import__('os') + 1 = 2", None),
]


@pytest.mark.parametrize(("text", "read"), READ, ids=[case[0][:40] for case in READ])
def test_an_equation_is_read_however_it_is_written(text, read):
    assert found(text) == ([] if read is None else [(read, True)])


def test_each_sign_of_equality_of_a_chain_is_an_equation():
    right = [("2 * 3 + 4 = 6 + 4", True), ("6 + 4 = 10", True)]
    assert found("2 * 3 + 4 = 6 + 4 = 10") == right
    assert found("5*2=10+3=13") == [("5 * 2 = 10", True), ("10 + 3 = 13", True)]
    assert [each.text for each in false_equations("2 * 3 + 4 = 6 + 4 = 11")] == ["6 + 4 = 11"]
    assert found("3 + 4 = 7\n5 - 2 = 3, 1 + 1 = 2") == [
        ("3 + 4 = 7", True),
        ("5 - 2 = 3", True),
        ("1 + 1 = 2", True),
    ]


def test_an_equation_has_its_operators_operands_and_both_values():
    (equation,) = equations("2 * (3.5 - 1/2) = 7")
    assert equation.operators == ("*", "-", "/")
    assert equation.operands == (2, Fraction(7, 2), 1, 2)
    assert (equation.left, equation.stated, equation.holds) == (6, 7, False)


def test_a_calculator_mark_counts_once_beside_its_text():
    assert found("48/2 = <<48/2=24>>24 clips") == [("48 / 2 = 24", True)]
    assert found("He sold <<48/2=25>>25 clips") == [("48 / 2 = 25", False)]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("10 / 3 = 3", True),
        ("10 / 3 = 3.3", True),
        ("10 / 3 = 3.33", True),
        ("10 / 3 = 3.4", False),
        ("10 / 3 = 4", False),
        ("1000 / 3 = 333.4", True),
        ("1000 / 3 = 335", False),
        ("1.25 * 3 = 3.8", True),
        # What the digits can say exactly is not rounded.
        ("4800 / 2 = 2401", False),
        ("12345 / 2 = 6172.6", False),
        ("1000 * 3 = 3001", False),
        ("1/4 = 26%", False),
        ("1/3 = 33%", True),
    ],
)
def test_a_result_may_be_rounded_where_it_must_be(text, holds):
    assert [equation.holds for equation in equations(text)] == [holds]


@pytest.mark.parametrize(
    "text",
    [
        "2x + 3 = 9",
        "2 * (x + 3) = 9",
        "4b + 16 = 2(s + 16)",
        "6Y - 35 = 37",
        "half of 20 + 4 = 14",
        "20% of 50 + 3 = 13",
        "3 times 20 + 4 = 64, or 2 times 5 + 1 = 11",
        "2 hours - 30 minutes = 90 minutes",
        "5:30 + 2 = 7:30",
        "11/4 = 2 3/4",
        "3 * 400 = 1.2 thousand",
        "Now the price - 3 - 2 = 5",
        "21/7 = 90/x",
    ],
)
def test_what_may_be_true_in_another_reading_blames_nobody(text):
    assert false_equations(text) == []


DATASET = Arithmetic(test=40, style=Style.expanded)


@pytest.mark.parametrize("style", Style)
def test_every_line_of_the_embedded_worlds_work_is_a_true_equation(style):
    for example in Arithmetic(test=40, style=style).examples(Split.test):
        *work, _ = example.reference.split("\n")
        read = equations(example.reference)
        assert [equation.text for equation in read] == work
        assert all(equation.holds for equation in read)
        assert fault_of(DATASET, example, example.reference) is None


def test_wrong_answers_are_sorted_by_their_fault():
    example = next(each for each in DATASET.examples(Split.test) if each.answer != "7")
    answers = {
        "3 + 4 = 7\n#### 7": Fault.setup,
        "#### 7": Fault.setup,
        "3 + 5 = 7\n#### 7": Fault.arithmetic,
        "3 + 5 = 7": Fault.unparsable,
        "": Fault.unparsable,
        f"3 + 5 = 7\n#### {example.answer}": None,
    }
    assert {text: fault_of(DATASET, example, text) for text in answers} == answers


def test_the_dataset_says_what_is_right(tmp_path):
    row = {"id": "a", "question": "Half?", "rationale": "", "answer": "\\frac{1}{2}"}
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    dataset = Math(path=str(tmp_path), validation_share=0)
    (example,) = dataset.examples(Split.test)
    assert fault_of(dataset, example, "1 - 0.4 = 0.5, so $\\boxed{0.5}$") is None
    assert fault_of(dataset, example, "1 - 0.4 = 0.5, so $\\boxed{0.4}$") is Fault.arithmetic


@pytest.fixture(scope="module")
def rationales():
    if not GSM8K.is_file():
        pytest.skip(f"no published data at {GSM8K}")
    return [json.loads(line)["rationale"] for line in GSM8K.read_text().splitlines()]


def test_nearly_all_gold_equations_are_read_and_hold(rationales):
    marks = [mark for text in rationales for mark in CALCULATOR_MARK.findall(text)]
    plain = [each for text in rationales for each in equations(CALCULATOR_MARK.sub("", text))]
    marked = [each for mark in marks for each in equations(mark)]
    assert len(marked) > 0.97 * len(marks)  # the rest calculate nothing: <<12=12>>
    assert all(equation.holds for equation in marked)
    assert len(plain) > 0.97 * len(marks)
    assert sum(equation.holds for equation in plain) > 0.997 * len(plain)


def test_a_digit_flipped_in_a_gold_result_is_found(rationales):
    missed = total = 0
    for mark in {mark for text in rationales for mark in CALCULATOR_MARK.findall(text)}:
        if not equations(mark):
            continue
        for place in range(mark.index("=") + 1, len(mark) - 2):
            if mark[place].isdigit():
                flipped = str((int(mark[place]) + 1 + place % 8) % 10)
                total += 1
                missed += not false_equations(f"{mark[:place]}{flipped}{mark[place + 1 :]}")
    assert total > 5000
    # Only the last digits of what was rounded may be another.
    assert missed < 0.005 * total
