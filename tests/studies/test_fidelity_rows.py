"""Gains, agreement and tests of a study of one's own, against what is counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from distillkit.core.errors import DataError
from distillkit.evaluation.fidelity_study.further import averaged, departures, pooled, ranked
from distillkit.evaluation.fidelity_study.hypotheses import Outcome, Question, answers
from distillkit.evaluation.fidelity_study.own import Cell, benchmark_rows, row_of
from distillkit.evaluation.fidelity_study.results import Selection
from distillkit.programs.study.fidelity.verdict import verdict
from tests.studies.fidelity import evaluation, row

CELL = Cell("large", "pupil", "chain", "forward_kl", 1.0, 0.0, 0)
RIGHT = ["1", "2", "3", "4"]


def test_a_row_is_read_off_both_evaluations(tmp_path: Path) -> None:
    run = evaluation(
        tmp_path / "kd", ["1", "2", "3", "0"], right=RIGHT, teacher=["1", "0", "3", "9"]
    )
    alone = evaluation(tmp_path / "sft", ["1", "0", None, "4"], right=RIGHT)
    found = row_of(CELL, run, alone, student_size=0.25)
    assert (found.accuracy, found.sft_accuracy, found.gain) == (75, 50, 25)
    assert (found.agreement, found.agreement_teacher_wrong) == (50, 25)
    assert (found.bleu, found.rouge, found.top1, found.kl) == (61, 71, 90, 0.2)
    # The supervised student's 1 and 0 are the teacher's; what cannot be read agrees with nothing.
    assert found.sft_agreement == 50
    told = found.as_dict()
    assert (told["teacher"], told["seed"], told["gain"]) == ("large", 0, 25)
    result = found.result()
    assert (result.improvement, result.fidelity, result.teacher_accuracy) == (25, 61, 75)


def test_a_teacher_that_is_never_wrong_leaves_a_number_out(tmp_path: Path) -> None:
    run = evaluation(
        tmp_path / "kd", RIGHT, right=RIGHT, teacher=RIGHT, agreement_teacher_wrong=None
    )
    alone = evaluation(tmp_path / "sft", RIGHT, right=RIGHT)
    assert row_of(CELL, run, alone, student_size=1).agreement_teacher_wrong is None


def test_a_number_that_is_missing_is_named_with_its_file(tmp_path: Path) -> None:
    run = evaluation(tmp_path / "kd", RIGHT, right=RIGHT, teacher=RIGHT, bleu_to_teacher=None)
    alone = evaluation(tmp_path / "sft", RIGHT, right=RIGHT)
    with pytest.raises(DataError, match=r"kd/evaluation/test/results.json has no bleu_to_teacher"):
        row_of(CELL, run, alone, student_size=1)


def test_evaluations_of_different_examples_are_refused(tmp_path: Path) -> None:
    run = evaluation(tmp_path / "kd", RIGHT, right=RIGHT, teacher=RIGHT)
    alone = evaluation(tmp_path / "sft", RIGHT, right=RIGHT, examples="others")
    with pytest.raises(DataError, match=r"sft and .*kd were tested on different examples"):
        row_of(CELL, run, alone, student_size=1)


def test_a_benchmark_is_a_task_of_its_own_without_a_likeness(tmp_path: Path) -> None:
    scores = {"piqa/acc": 0.5, "piqa/acc_norm": 0.6, "gsm8k_zeroshot/exact_match/strict": 0.25}
    lower = {name: value - 0.1 for name, value in scores.items()}
    run = evaluation(tmp_path / "kd", RIGHT, right=RIGHT, teacher=RIGHT, benchmarks=scores)
    alone = evaluation(tmp_path / "sft", RIGHT, right=RIGHT, benchmarks=lower)
    own = row_of(CELL, run, alone, student_size=1)
    names = {"piqa": "piqa after chain", "gsm8k_zeroshot": "gsm8k after chain"}
    found = benchmark_rows(own, run, alone, names=names)
    assert [each.cell.task for each in found] == list(names.values())
    assert [each.accuracy for each in found] == [50, 25]
    assert [each.gain for each in found] == [pytest.approx(10), pytest.approx(10)]
    assert [each.agreement for each in found] == [None, None]
    with pytest.raises(DataError, match=r"kd has no score of boolq"):
        benchmark_rows(own, run, alone, names={"boolq": ""})


def test_a_run_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing/evaluation/test has no results"):
        row_of(CELL, tmp_path / "nothing", tmp_path, student_size=1)


def test_means_over_seeds_have_the_interval_of_t() -> None:
    gains = [2.0, 5.0, 11.0]
    rows = [row(40 + gain, 40, seed=seed) for seed, gain in enumerate(gains)]
    (found,) = averaged(rows)
    assert (found["seeds"], found["gain"], found["accuracy"]) == (3, 6, 46)
    peer = stats.ttest_1samp(gains, 0)
    assert found["gain_p"] == pytest.approx(peer.pvalue)
    bounds = peer.confidence_interval()
    assert (found["gain_low"], found["gain_high"]) == pytest.approx((bounds.low, bounds.high))


def test_tasks_are_centred_before_they_are_put_together() -> None:
    """Within each task the gain falls as agreement rises; between tasks both rise."""
    rows = [
        row(base + 50 - step, 50, student=str(step), task=str(base), agreement=base + 2.0 * step)
        for base in (0, 30)
        for step in (0, 1, 2)
    ]
    (found,) = (each for each in pooled(rows, selection="") if each.measure == "agreement")
    assert found.pearson.estimate == pytest.approx(-1)
    assert (found.spearman.estimate, found.spearman.n) == (pytest.approx(-1), 6)
    raw = np.corrcoef([r.gain for r in rows], [r.agreement for r in rows])[0, 1]
    assert raw > 0.8


def test_departures_are_compared_with_the_same_seeds_of_the_grid() -> None:
    rows = [
        *(row(60 + seed, 50, seed=seed) for seed in range(3)),
        *(row(57 - seed, 50, seed=seed, noise=2.0) for seed in range(3)),
        *(row(10, 50, seed=seed, student="other") for seed in range(3)),
    ]
    found = departures(rows, tau=1, noise=0)
    assert [(line["noise"], line["change"]) for line in found] == [(0, 0), (2, -5)]
    peer = stats.ttest_rel([57, 56, 55], [60, 61, 62])
    assert found[1]["change_p"] == pytest.approx(peer.pvalue)


def units() -> list:
    """Six students, three seeds each; gains 1 to 6, that agree with the teacher the more."""
    return [
        row(50.0 + gain, 50, teacher=teacher, student=student, seed=seed, agreement=10.0 * gain)
        for gain, (teacher, student) in enumerate(
            [(t, s) for t in ("large", "small") for s in "abc"], 1
        )
        for seed in range(3)
    ]


def one(found: list[Outcome], question: Question, test: str) -> Outcome:
    (answer,) = (a for a in found if a.question is question and a.finding.test.startswith(test))
    return answer


def test_ranks_are_of_units_that_are_means_over_seeds() -> None:
    found = ranked([each.result() for each in units()], selection="")
    gain = one(found, Question.improvement, "Wilcoxon").finding
    assert (gain.estimate, gain.n, gain.p) == (1, 6, pytest.approx(1 / 64))
    teachers = one(found, Question.teacher, "Kruskal").finding
    assert teachers.statistic == pytest.approx(27 / 7)
    assert one(found, Question.agreement, "Pearson").finding.estimate == pytest.approx(1)
    assert not [a for a in found if a.question is Question.method]


def test_a_test_is_the_same_after_it_was_written_down() -> None:
    results = [each.result() for each in units()]
    for answer in [
        *answers(results, selection=Selection.fixed, tau=1),
        *ranked(results, selection=""),
    ]:
        assert Outcome.of(answer.as_dict()).as_dict() == answer.as_dict()


def test_the_verdict_tells_a_paradox_from_none() -> None:
    results = [each.result() for each in units()]
    told = [
        {**answer.as_dict(), "task": "average"}
        for answer in answers(results, selection=Selection.fixed, tau=1)
    ]
    said = {}
    for name, sign in (("together", 1), ("apart", -1)):
        rows = [
            row(50.0 + gain, 50, student=str(gain), agreement=50.0 + sign * gain + gain % 2)
            for gain in range(9)
        ]
        lines = [each.as_dict() for each in pooled(rows, selection="")]
        said[name] = verdict({"answers": told, "together": lines})
    assert "distillation helps: agrees. Mean gain +3.50 points" in said["together"]
    assert "Gain and agreement: no paradox here, they rise together" in said["together"]
    assert "Gain and agreement: as in the paper, no clear tie" in said["apart"]
    assert "published -0.15 (median of 14 tasks, -0.63 to +0.21)" in said["apart"]
