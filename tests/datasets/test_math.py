"""MATH: boxes are read, answers compared by meaning, and no answer can hang the judge."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from threading import current_thread, main_thread

import pytest

from distillkit.core.types import Split
from distillkit.datasets.answers.latex import spelled
from distillkit.datasets.equivalence import LONGEST, Comparer, comparer
from distillkit.datasets.math import Math, last_boxed
from distillkit.datasets.source import Row
from tests.datasets.test_rows import published


def problem(answer: str, **values: str):
    return Math().example(Row("here", "r", {"question": "?", "answer": answer, **values}))


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so $\boxed{42}$.", "42"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ a \right.}", r"\left\{ a \right."),
        (r"\fbox{7}", None),
        (r"\fboxed{7}", "7"),
        (r"\boxed {7}", "7"),
        (r"\boxed{1} and then \boxed{2", "1"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{2", None),
        ("42", None),
        ("", None),
    ],
)
def test_the_last_closed_box_is_read(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("written", "spelling"),
    [
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
        (r"10,\!000", "10000"),
        (r"\$18.90", "18.9"),
        (r"90^{\circ}", r"90\text{degree}"),
        (r"\dfrac{3}{4}", r"\frac{3}{4}"),
        (r"5 \text{ cm}^2", r"5\text{cm}^2"),
        (r"\text{Wednesday}", "Wednesday"),
        (r"\text{two words}", "two words"),
        (r"x \in [0, 1]", r"x\in[0,1]"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"a \leftarrow b", r"a\leftarrow b"),
        ("42.", "42"),
    ],
)
def test_what_changes_no_meaning_changes_no_spelling(written: str, spelling: str) -> None:
    assert spelled(written) == spelling
    assert spelled(spelling) == spelling


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"The answer is $5$. Check: \boxed{6}", "6"),
        ("The answer is $\\frac{1}{2}$.", r"\frac{1}{2}"),
        ("Answer: $3$, or rather, the answer is: $4$", "4"),
        ("The answer is 5.", "5"),
        ("5", None),
        (r"\boxed{ }", None),
    ],
)
def test_answers_are_boxed_or_announced(text: str, answer: str | None) -> None:
    assert Math().extract(text) == answer


@pytest.mark.parametrize(
    ("known", "right", "wrong"),
    [
        (r"\frac{1}{2}", ["0.5", r"\dfrac12", "1/2", r"50/100"], ["2", "-0.5", r"\frac{1}{3}"]),
        ("(x+1)^2", ["x^2 + 2x + 1", "(1+x)^2"], ["x^2+1", "(y+1)^2"]),
        (r"2\sqrt{2}", [r"\sqrt{8}"], [r"\sqrt{2}"]),
        (r"(3,\frac{\pi}{2})", [r"\left(3, \pi/2\right)"], [r"(\frac{\pi}{2}, 3)", "3"]),
        ("1200", ["1,200", r"1{,}200"], ["120", "1.2"]),
        (r"\text{Wednesday}", ["Wednesday"], ["Monday", "W"]),
        (
            r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
            [r"\begin{pmatrix} 2/2 \\ 2 \end{pmatrix}"],
            ["1"],
        ),
        ("5", ["x = 5"], ["x = 6", r"\frac{", "", "}{"]),
    ],
)
def test_answers_are_judged_by_meaning(known: str, right: list[str], wrong: list[str]) -> None:
    example = problem(known)
    for answers, verdict in ((right, True), (wrong, False)):
        for answer in answers:
            assert Math().is_correct(example, f"So $\\boxed{{{answer}}}$.") is verdict, answer


def test_an_answer_without_a_rationale_is_its_own_reference() -> None:
    example = problem(r"\frac{1}{2}")
    assert example.reference == r"The answer is $\boxed{\frac{1}{2}}$."
    assert example.question.endswith(r"End with the final answer in \boxed{}.")


def test_a_rationale_that_ends_in_another_box_is_followed_by_the_answer() -> None:
    example = problem("12", rationale=r"It is 12. Do not write \boxed{twelve}.")
    assert example.reference.endswith("\nThe answer is $\\boxed{12}$.")
    assert Math().is_correct(example, example.reference)


def test_a_hub_row_with_an_empty_box_is_not_judged() -> None:
    values = Math().normalise({"problem": "?", "solution": r"So $\boxed{}$."}, "train-00000")
    example = Math().example(Row("hub", values["id"], values))
    assert (example.answer, example.reference) == ("", r"So $\boxed{}$.")


def test_a_published_solution_is_kept_as_it_is() -> None:
    example = published("math").examples(Split.test)[0]
    assert example.reference.endswith(r"$\boxed{\left( 3, \frac{\pi}{2} \right)}.$")
    assert example.answer == r"(3,\frac{\pi}{2})"


def test_an_answer_that_cannot_be_worked_out_is_wrong_in_time_and_the_next_one_is_judged() -> None:
    judge = Comparer(seconds=2)
    assert judge.same("2", "4/2")
    start = time.monotonic()
    assert not judge.same("3", "9999!^{9999!}")
    assert time.monotonic() - start < 5
    assert judge.same("2", "4/2")


def test_a_child_that_nobody_waits_for_ends_too() -> None:
    judge = Comparer()
    assert judge.same("1", "2/2")
    child = judge._child
    assert child is not None
    assert child.stdin is not None
    child.stdin.write('["x+1", "\\\\frac{x^2-1}{x-1}", 0.0001]\n')
    child.stdin.close()
    assert child.wait(timeout=10) == -signal.SIGALRM


def test_answers_are_compared_outside_the_main_thread_too() -> None:
    def judge(number: int) -> bool:
        assert current_thread() is not main_thread()
        return comparer().same(str(number), f"{2 * number}/2")

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(judge, range(20)))


def test_a_judge_that_was_killed_is_replaced() -> None:
    judge = Comparer()
    assert judge.same("1", "2/2")
    assert judge._child is not None
    judge._child.kill()
    judge._child.wait()
    assert judge.same("1", "2/2")


def test_answers_of_no_sensible_length_are_not_compared() -> None:
    assert not comparer().same("1", "1+" * LONGEST + "1")
