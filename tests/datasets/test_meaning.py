"""What mathematical answers mean: exact values, and forms that say the same in other words."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillkit.datasets.answers.latex import enclosed, parts, spelled
from distillkit.datasets.answers.meaning import same
from distillkit.datasets.equivalence import comparer
from distillkit.datasets.math import Math

SAME = [
    *(
        (r"\frac12", "0.5"),
        ("2.5", "5/2"),
        ("1/3", r"0.\overline{3}"),
        (r"0.1\overline6", r"\frac16"),
    ),
    *((r"\sqrt2", "2^{1/2}"), ("2^{100}", "1267650600228229401496703205376"), ("½", "0.5")),
    *((r"10\frac12", "10.5"), (r"-1\frac12", "-1.5"), ("1,000", "1000"), ("1{,}000.5", "1000.5")),
    *(
        (r"3\times10^4", "30000"),
        ("3e4", "30000"),
        ("−3", "-3"),
        ("π", r"\pi"),
        ("2√3", r"2\sqrt3"),
    ),
    # An answer without a unit is taken to have the right one; what is merely counted is no unit.
    *((r"5\text{ cm}", "5"), (r"500\text{ cm}", r"5 \text{ m}"), ("12 inches", "1 foot")),
    *((r"12\text{ students}", r"12\text{ people}"), (r"\$5", "5 dollars"), ("90°", r"90^{\circ}")),
    *((r"36\text{ square units}", "36"), (r"5\text{ cm}^2", r"5\text{ square centimeters}")),
    *((r"25\%", r"\frac14"), (r"25\%", "0.25"), (r"25\%", "25"), ("25 percent", r"25\%")),
    *((r"6:00\text{ p.m.}", "18:00"), ("6:00 pm", "6:00"), ("6 p.m.", "6:00 pm")),
    *(("1:2:3", "2:4:6"), ("1:2", r"\frac12")),
    *((r"\{1,2,3\}", "3,2,1"), ("1, 2, and 3", "3,2,1"), (r"\pm3", r"x=3 \text{ or } x=-3")),
    *((r"2\pm\sqrt3", r"2+\sqrt{3},2-\sqrt{3}"), ("(1,2)", "(1, 2)")),
    *(
        ("(0,1)", "0<x<1"),
        (r"[2,\infty)", r"x\ge 2"),
        ("(-1,4]", r"-1<x\leq 4"),
        ("x ≤ 3", r"(-\infty,3]"),
    ),
    *((r"x\neq 1", r"(-\infty,1)\cup(1,\infty)"), (r"x\in[0,1]", "[0,1]")),
    *((r"x<-2\text{ or }x>3", r"(3,\infty)\cup(-\infty,-2)"),),
    *(("x=5", "5"), ("y=2x+3", "2x-y+3=0"), ("2x-y+3=0", "4x-2y+6=0"), ("f(x)=x^2", "x^2")),
    *(("(x+1)^2", "x^2+2x+1"), (r"\frac{x^2-1}{x-1}", "x+1"), ("(x,y)=(1,2)", "(1,2)")),
    (r"\begin{pmatrix}0.5&2\end{pmatrix}", r"\begin{bmatrix}\frac12 & 2\end{bmatrix}"),
    *((r"\text{Wednesday}", "wednesday"), (r"\text{(B)}", "B"), (r"\text{June 20}", "20 June")),
    *(("506_7", "506_{7}"), ("506_7", "506"), ("3+4i", "4i+3"), (r"\infty", r"+\infty")),
]

OTHER = [
    *(
        ("3", "3.0000001"),
        (r"\frac16", "0.1666666667"),
        (r"\sqrt2", "1.41421356"),
        (r"\pi", "3.14"),
    ),
    *((r"\pi", "3.14159265358979323846"), (r"\sqrt2", r"\sqrt2+10^{-40}")),
    *(("2^{100}", "1267650600228229401496703205377"), (r"\frac1{2^{99}}", r"\frac1{2^{98}}")),
    *(
        (r"5\text{ m}", r"5\text{ cm}"),
        (r"5\text{ cm}^2", r"5\text{ cm}"),
        ("5 dollars", "5 cents"),
    ),
    *((r"25\%", "2.5"), (r"0.5\%", r"50\%"), ("12:00 a.m.", "12:00 p.m."), ("3:45", "4:45")),
    *(
        ("2:3", "3:2"),
        ("1:2:3", "1:2"),
        ("(1,2)", "(2,1)"),
        ("[0,1)", "[0,1]"),
        (r"\{1,2\}", "(1,2)"),
    ),
    *((r"[2,\infty)", "x>2"), ("1,2,3", "1,2"), ("1,1,2", "1,2,2"), ("x=5", "y=5")),
    *(("2x-y+3=0", "2x-y+4=0"), ("y=2x+3", "2x+4"), ("|x|", "x"), (r"\sqrt{x^2}", "x"), ("n", "N")),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    *((r"\text{A}", "a"), (r"\text{even}", "odd"), (r"\text{June 20}", r"\text{July 20}")),
    *(("506_7", "506_8"), (r"\infty", r"-\infty"), ("i", "-i"), (r"\frac{\pi}{2}", r"90^\circ")),
    *(("", "5"), ("}{", "5")),
]

HOSTILE = ["9^{9^{9^9}}", "10^{10^{10}}", "1000000000!", "{" * 250 + "1" + "}" * 250, "(" * 400]
"""Answers that no judge may choke on."""


@pytest.mark.parametrize(("one", "other"), SAME)
def test_answers_that_mean_the_same_are_the_same_in_either_order(one: str, other: str) -> None:
    assert same(spelled(one), spelled(other))
    assert same(spelled(other), spelled(one))


@pytest.mark.parametrize(("one", "other"), OTHER, ids=range(len(OTHER)))
def test_answers_that_differ_are_told_apart_in_either_order(one: str, other: str) -> None:
    assert not same(spelled(one), spelled(other))
    assert not same(spelled(other), spelled(one))


def test_a_hostile_answer_is_wrong_in_time() -> None:
    began = time.monotonic()
    comparer().same("1", "2/2")
    for text in (*HOSTILE, "\\frac{" * 80, "1+" * 50_000):
        assert not comparer().same("7", text)
        assert not comparer().same(text, "7")
    assert time.monotonic() - began < 60
    assert comparer().same("7", "14/2")


@pytest.mark.parametrize("text", sorted({text for pair in (*SAME, *OTHER) for text in pair}))
def test_a_spelling_is_its_own_spelling(text: str) -> None:
    assert spelled(spelled(text)) == spelled(text)


@settings(deadline=None, max_examples=30)
@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_fractions_are_equal_where_they_are_equal(one, other) -> None:
    written = rf"\frac{{{2 * one.numerator}}}{{{2 * one.denominator}}}"
    assert same(written, f"{one.numerator}/{one.denominator}")
    assert same(written, f"{other.numerator}/{other.denominator}") is (one == other)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=4), st.randoms())
def test_lists_and_sets_have_no_order_and_tuples_have(
    numbers: list[int], draw: random.Random
) -> None:
    shuffled = draw.sample(numbers, len(numbers))
    one, other = (",".join(map(str, each)) for each in (numbers, shuffled))
    assert same(one, other)
    assert same(rf"\{{{one}\}}", other)
    assert same(f"({one})", f"({other})") is (numbers == shuffled)


@given(st.text(alphabet=r"\{}()[],.:=<>^_%$x1 a", max_size=60))
def test_no_answer_breaks_its_spelling(text: str) -> None:
    assert isinstance(spelled(text), str)
    assert ",".join(parts(text)) == text
    assert enclosed(text) is None or text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 42, because 6 * 7 is.", "42"),
        ("**Answer:** **42**", "42"),
        (r"The final answer is \(42\), as 2 show.", "42"),
        (r"Answer: \[ 42 \]", "42"),
        ("#### 42", "42"),
        (r"\boxed{42}" + "\n\n**Question 2**: 1 + 1?\n" + r"\boxed{2}", "42"),
        (r"\boxed{42} and \boxed{ }", "42"),  # A blank box says nothing.
        ("42", None),
    ],
)
def test_answers_without_a_box_are_announced(text: str, answer: str | None) -> None:
    assert Math().extract(text) == answer
