"""The paper's statistics from its published tables, to every printed digit, and on own results."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from distillkit.core.errors import DataError
from distillkit.evaluation.fidelity_study.hypotheses import Outcome, Question, answers
from distillkit.evaluation.fidelity_study.published import Likeness, published
from distillkit.evaluation.fidelity_study.results import (
    Result,
    Selection,
    average,
    over_seeds,
    select,
)

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "kd_generalization_results"

GOLDEN = """
AQuA          | 4.07 (1e-4) | 2.67 (.09) | -.10 (.58) | -.23 (.19)  | -.18 (.31) | -.19 (.29)
AddSub        | 5.57 (2e-6) | 0.41 (.67) | .30 (.09)  | -.64 (.00)  | -.09 (.64) | -.12 (.50)
gsm8k         | 8.87 (2e-10)| 5.62 (.01) | .09 (.64)  | -.51 (.003) | -.33 (.06) | -.02 (.89)
MultiArith    | 7.09 (2e-8) | 0.52 (.60) | .21 (.23)  | -.83 (.00)  | -.63 (.00) | -.46 (.01)
SVAMP         | 7.39 (1e-8) | 4.73 (.02) | -.09 (.60) | -.43 (.01)  | -.37 (.03) | -.21 (.24)
SingleEq      | 8.31 (9e-10)| 1.18 (.32) | .35 (.05)  | -.59 (.00)  | -.12 (.52) | .11 (.55)
math average  | 8.47 (6e-10)| 2.27 (.12) | -.01 (.95) | -.66 (.00)  |            |
ARC-Challenge | 5.43 (3e-6) | 0.49 (.62) | -.41 (.02) | -.63 (.00)  | -.12 (.50) |
ARC-Easy      | 5.30 (4e-6) | 0.72 (.49) | -.36 (.04) | -.78 (.00)  | -.19 (.30) |
boolq         | 1.40 (.09)  | 0.20 (.82) | .10 (.56)  | -.15 (.41)  | .21 (.24)  |
hellaswag     | 0.66 (.26)  | 0.18 (.84) | -.32 (.07) | -.40 (.02)  | .08 (.67)  |
openbookqa    | 7.59 (6e-9) | 0.04 (.96) | -.41 (.02) | -.55 (.00)  | -.32 (.07) |
piqa          | 4.77 (2e-5) | 0.45 (.64) | -.27 (.13) | -.67 (.00)  | -.02 (.91) |
social_i_qa   | 7.92 (2e-9) | 1.12 (.34) | -.31 (.07) | -.49 (.00)  | -.21 (.24) |
winogrande    | 7.24 (2e-8) | 0.27 (.76) | -.02 (.92) | -.34 (.05)  | .12 (.51)  |
commonsense average | 3.86 (3e-4) | 0.30 (.75) | -.30 (.09) | -.54 (.00) | |
"""
"""Task: H1 t, H1 F, and ρ with teacher, size, agreement and fidelity, each with its p."""

COLUMNS = (
    Question.improvement,
    Question.method,
    Question.teacher,
    Question.size,
    Question.agreement,
    Question.fidelity,
)

ROBUST = {
    Selection.fixed: [
        ("math average", Question.improvement, "7.64", None),
        ("math average", Question.method, "5.48", ".01"),
        ("gsm8k", Question.method, "14.9", None),
        ("commonsense average", Question.improvement, "-0.76", ".77"),
    ],
    Selection.best: [
        ("AddSub", Question.fidelity, "-.35", None),
        ("AQuA", Question.fidelity, "-.32", None),
        ("MultiArith", Question.fidelity, "-.65", None),
    ],
}


@pytest.fixture(scope="module")
def folder() -> Path:
    if not PUBLISHED.is_dir():
        pytest.skip(f"no published data at {PUBLISHED}")
    return PUBLISHED


@pytest.fixture(scope="module")
def best(folder: Path) -> list[Outcome]:
    return answers(published(folder), selection=Selection.best)


@pytest.fixture(scope="module")
def fixed(folder: Path) -> list[Outcome]:
    return answers(published(folder), selection=Selection.fixed, tau=1)


def one(found: list[Outcome], task: str, question: Question, method: str | None = None) -> Outcome:
    (answer,) = (a for a in found if (a.task, a.question, a.method) == (task, question, method))
    return answer


def printed(value: float, like: str) -> str:
    """With the digits of an example, as in 2e-10, .003 or 4.07."""
    if "e" in like:
        digit, power = f"{value:.0e}".split("e")
        return f"{digit}e{int(power)}"
    text = f"{value:.{len(like.partition('.')[2])}f}"
    return text if re.match(r"-?\d", like) else text.replace("0.", ".", 1)


def number(answer: Outcome) -> float:
    found = answer.finding
    return found.statistic if answer.question is Question.improvement else found.estimate


def golden() -> list[tuple[str, Question, str, str]]:
    rows = [[cell.strip() for cell in row.split("|")] for row in GOLDEN.strip().splitlines()]
    return [
        (row[0], question, *re.fullmatch(r"(\S+) ?\((\S+)\)", cell).groups())
        for row in rows
        for question, cell in zip(COLUMNS, row[1:], strict=True)
        if cell
    ]


def test_every_golden_number_comes_out_to_the_printed_digits(best: list[Outcome]) -> None:
    expected = golden()
    assert len(expected) == 16 * 4 + 14 + 6
    found = []
    for task, question, value, p in expected:
        answer = one(best, task, question)
        assert answer.finding.n == 33
        found.append((task, question, printed(number(answer), value), printed(answer.finding.p, p)))
    assert found == expected


def test_the_robustness_check_comes_out_to_the_printed_digits(
    folder: Path, fixed: list[Outcome]
) -> None:
    blue = answers(published(folder, likeness=Likeness.bleu), selection=Selection.best)
    for found, rows in ((fixed, ROBUST[Selection.fixed]), (blue, ROBUST[Selection.best])):
        for task, question, value, p in rows:
            answer = one(found, task, question)
            assert printed(number(answer), value) == value
            assert p is None or printed(answer.finding.p, p) == p
    gain = one(fixed, "math average", Question.improvement).finding
    loss = one(fixed, "commonsense average", Question.improvement).finding
    assert (printed(gain.estimate, "4.39"), printed(loss.estimate, "-2.33")) == ("4.39", "-2.33")
    assert printed(one(fixed, "commonsense average", Question.method).finding.p, ".05") == ".05"


def test_the_averages_at_tau_1_are_those_of_the_papers_table(folder: Path) -> None:
    at_one = {(r.teacher, r.student, r.method, r.task): r for r in published(folder) if r.tau == 1}
    key = ("Qwen2.5-14B", "Qwen2.5-0.5B", "reverse_kl", "math average")
    assert (at_one[key].accuracy, at_one[key].sft_accuracy) == (63.21, 52.84)
    key = ("Llama-3.1-8B", "Llama-3.2-1B", "gkd", "MultiArith")
    assert at_one[key].improvement == pytest.approx(22.33)
    assert len({key[:3] for key in at_one}) == 33
    # Means over 11 pairs and 6 tasks.
    kinds = [at_one[k] for k in at_one if k[2:] == ("gkd", "math average")]
    assert np.mean([r.agreement for r in kinds]) == pytest.approx(67.9, abs=0.05)
    assert np.mean([r.fidelity for r in kinds]) == pytest.approx(88.30, abs=0.005)


def test_each_method_has_its_own_answers_from_eleven_pairs(
    folder: Path, best: list[Outcome]
) -> None:
    found = one(best, "gsm8k", Question.start, "gkd")
    own = [r for r in published(folder) if (r.method, r.task) == ("gkd", "gsm8k")]
    peer = stats.spearmanr([r.improvement for r in own], [r.sft_accuracy for r in own])
    assert (found.finding.n, found.finding.estimate) == (11, pytest.approx(peer.statistic))
    assert found.finding.unit == "(teacher, student, method)"


def test_findings_carry_the_rule_that_chose_them(best: list[Outcome], fixed: list[Outcome]) -> None:
    assert {a.finding.selection for a in best} == {"best tau on the test score, for each task"}
    assert {a.finding.selection for a in fixed} == {"tau fixed at 1"}


def test_holm_corrects_one_question_over_all_tasks(best: list[Outcome]) -> None:
    family = [a for a in best if (a.question, a.method) == (Question.fidelity, None)]
    assert len(family) == 7
    smallest = min(family, key=lambda a: a.finding.p)
    assert smallest.task == "MultiArith"
    assert smallest.holm == pytest.approx(7 * smallest.finding.p)


def own(pair: int, **fields: object) -> Result:
    """A result of an invented pair, whose gain falls as its agreement rises."""
    given = {
        "teacher": f"teacher {pair}",
        "student": "student",
        "method": "jsd",
        "tau": 1.0,
        "seed": 0,
        "task": "a",
        "accuracy": 60.0 - pair**2,
        "sft_accuracy": 40.0,
        "agreement": 50.0 + pair,
    }
    return Result(**{**given, **fields})


def test_own_results_are_asked_what_they_can_answer() -> None:
    found = answers([own(pair) for pair in range(6)], selection=Selection.fixed)
    asked = {(a.question, a.method) for a in found}
    assert asked == {
        (question, method)
        for question in (Question.improvement, Question.start, Question.agreement)
        for method in (None, "jsd")
    }
    assert one(found, "a", Question.agreement).finding.estimate == pytest.approx(-1)
    assert one(found, "a", Question.start).finding.p is None
    assert one(found, "a", Question.start).holm is None
    assert one(found, "a", Question.improvement).finding.estimate == pytest.approx(20 - 55 / 6)


def test_seeds_are_averaged_and_not_counted() -> None:
    results = [
        own(pair, seed=seed, accuracy=50.0 + pair + shift)
        for pair in range(4)
        for seed, shift in enumerate((-3, 0, 3))
    ]
    found = one(answers(results, selection=Selection.best), "a", Question.improvement).finding
    assert (found.n, found.estimate) == (4, pytest.approx(11.5))


def test_best_takes_the_larger_gain_of_the_mean_over_seeds_with_its_agreement() -> None:
    """A lucky seed of tau 5 does not win against the better mean of tau 2."""
    results = [
        own(1, tau=2.0, seed=0, accuracy=50.0, agreement=70.0),
        own(1, tau=2.0, seed=1, accuracy=52.0, agreement=72.0),
        own(1, tau=5.0, seed=0, accuracy=60.0, agreement=10.0),
        own(1, tau=5.0, seed=1, accuracy=20.0, agreement=10.0),
    ]
    (chosen,) = select(over_seeds(results), Selection.best, tau=1)
    assert (chosen.tau, chosen.accuracy, chosen.agreement) == (2, 51, 71)


def test_an_average_is_unweighted_and_lacks_what_a_task_lacks() -> None:
    results = [own(1, fidelity=80.0), own(1, task="b", accuracy=10.0, agreement=0.0)]
    (mean,) = average(results, "both")
    assert (mean.task, mean.accuracy, mean.agreement, mean.fidelity) == ("both", 34.5, 25.5, None)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: over_seeds([own(1), own(1)]), "two results on a with one seed"),
        (lambda: average([own(1), own(1, task="b"), own(2)], "both"), "results on a, the first"),
        (lambda: average([own(1), own(1)], "both"), "results on a, a"),
        (lambda: select([own(1)], Selection.fixed, tau=3), "no result has tau 3; there are 1"),
    ],
)
def test_results_that_would_be_counted_wrongly_are_refused(call, words: str) -> None:
    with pytest.raises(DataError, match=words):
        call()


def test_planted_relations_are_found_and_others_are_not() -> None:
    random = np.random.default_rng(2)
    results = [
        replace(
            own(pair, method=method, agreement=float(random.normal(60, 5))),
            teacher_accuracy=70.0 + pair,
            accuracy=45 + 0.5 * pair + shift + float(random.normal(0, 0.5)),
        )
        for pair in range(12)
        for method, shift in (("jsd", 0), ("forward_kl", 4), ("reverse_kl", 8))
    ]
    found = answers(results, selection=Selection.best)
    assert one(found, "a", Question.improvement).finding.p < 1e-6
    assert one(found, "a", Question.method).finding.p < 1e-6
    assert one(found, "a", Question.teacher).finding.low > 0
    assert one(found, "a", Question.agreement).finding.p > 0.05
