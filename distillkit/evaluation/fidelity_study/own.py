"""Rows of a study of one's own: what evaluations say of each distilled student and its teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distillkit.core.errors import DataError
from distillkit.evaluation.fidelity_study.results import Result
from distillkit.evaluation.folder import EvaluationFolder, KeptEvaluation

TOLD = {
    "agreement": ("agreement", "agreement", 100.0),
    "agreement_teacher_wrong": ("agreement", "agreement_teacher_wrong", 100.0),
    "bleu": ("similarity", "bleu_to_teacher", 1.0),
    "rouge": ("similarity", "rouge_l_to_teacher", 1.0),
    "top1": ("divergence", "top1_teacher", 100.0),
    "kl": ("divergence", "forward_kl_teacher", 1.0),
}
"""What is told of likeness: the metric's, the number's name in it, and the factor."""

MAY_LACK = {"agreement_teacher_wrong"}
"""Numbers that bear on no example where the teacher is always right."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One distilled student."""

    teacher: str
    """Name."""
    student: str
    """Name."""
    task: str
    """Name."""
    method: str
    """Name."""
    tau: float
    """Temperature of both sides."""
    noise: float
    """Standard deviation of noise on the teacher's logits."""
    seed: int
    """Of the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A cell and its scores: percentages, KL in nats a token, None where there is none."""

    cell: Cell
    accuracy: float
    sft_accuracy: float
    """Of the same student, task and seed without a teacher."""
    teacher_accuracy: float | None
    parse_rate: float
    """Share of answers that can be read."""
    student_size: float
    """Parameters, in billions."""
    sft_agreement: float | None = None
    """Agreement with this teacher without it."""
    agreement: float | None = None
    agreement_teacher_wrong: float | None = None
    bleu: float | None = None
    rouge: float | None = None
    top1: float | None = None
    """Likeliest next tokens in common, on the teacher's text."""
    kl: float | None = None
    """KL(teacher || student), on the teacher's text."""

    @property
    def gain(self) -> float:
        """Accuracy over supervised training."""
        return self.accuracy - self.sft_accuracy

    def as_dict(self) -> dict[str, Any]:
        """One line of a table."""
        told = asdict(self)
        return {**told.pop("cell"), "gain": self.gain, **told}

    def result(self) -> Result:
        """As the paper's hypotheses are asked of it; fidelity is BLEU to the teacher's text."""
        cell = self.cell
        return Result(
            teacher=cell.teacher,
            student=cell.student,
            method=cell.method,
            tau=cell.tau,
            seed=cell.seed,
            task=cell.task,
            accuracy=self.accuracy,
            sft_accuracy=self.sft_accuracy,
            agreement=self.agreement,
            fidelity=self.bleu,
            teacher_accuracy=self.teacher_accuracy,
            student_size=self.student_size,
        )


def read(run: Path) -> KeptEvaluation:
    """What the evaluation of a run left.

    Raises:
        DataError: nothing.
        RunError: a file is damaged.
    """
    folder = EvaluationFolder(run, "test")
    if (kept := folder.kept()) is None:
        raise DataError(f"{folder.path} has no results. Give the same command again.")
    return kept


def row_of(cell: Cell, run: Path, baseline: Path, *, student_size: float) -> Row:
    """The row of a cell.

    Args:
        cell: which.
        run: of the distilled student, evaluated beside its teacher.
        baseline: of the same student after supervised training.
        student_size: parameters, in billions.

    Raises:
        DataError: a number is missing, or the two were tested on different examples.
    """
    kept, without = read(run), read(baseline)
    check_same_examples({run: kept, baseline: without})
    told = {
        name: _number(kept, run, metric, number, factor, optional=name in MAY_LACK)
        for name, (metric, number, factor) in TOLD.items()
    }
    return Row(
        cell=cell,
        accuracy=_accuracy(kept, run),
        sft_accuracy=_accuracy(without, baseline),
        teacher_accuracy=_accuracy(kept, run, who="teacher"),
        parse_rate=_sure(kept, run, "accuracy", "parse_rate"),
        student_size=student_size,
        sft_agreement=_agreement(kept.items, without.items),
        **told,
    )


def benchmark_rows(row: Row, run: Path, baseline: Path, *, names: Mapping[str, str]) -> list[Row]:
    """One row for each benchmark on which both students were measured.

    Args:
        row: of the cell.
        run: see ``row_of``.
        baseline: see ``row_of``.
        names: of the benchmarks, and what their tasks are called here.
    """
    kept, without, found = read(run), read(baseline), []
    for name, task in names.items():
        number = _score(kept, run, name)
        found.append(
            Row(
                cell=replace(row.cell, task=task),
                accuracy=_sure(kept, run, "lm_eval", number),
                sft_accuracy=_sure(without, baseline, "lm_eval", number),
                teacher_accuracy=_number(
                    kept, run, "lm_eval", number, 100.0, who="teacher", optional=True
                ),
                parse_rate=100.0,
                student_size=row.student_size,
            )
        )
    return found


def check_same_examples(evaluations: Mapping[Path, KeptEvaluation]) -> None:
    """Refuse evaluations that are not of the same examples, written in the same way.

    Raises:
        DataError: two differ.
    """
    digests = {run: kept.results.get("examples") for run, kept in evaluations.items()}
    first, *others = digests
    for other in others:
        if digests[other] != digests[first]:
            raise DataError(
                f"{other} and {first} were tested on different examples, so their gain says "
                "nothing. Delete the evaluation folder of both and give the same command again."
            )


def _accuracy(kept: KeptEvaluation, run: Path, who: str = "student") -> float:
    found = _number(kept, run, "accuracy", "accuracy", 100.0, who=who)
    assert found is not None
    return found


def _sure(kept: KeptEvaluation, run: Path, metric: str, number: str) -> float:
    found = _number(kept, run, metric, number, 100.0)
    assert found is not None
    return found


def _score(kept: KeptEvaluation, run: Path, benchmark: str) -> str:
    """Name of the benchmark's main number: right answers, as the harness counts them first."""
    known = kept.results["numbers"]["student"].get("lm_eval", {})
    for ending in ("acc", "exact_match"):
        for number in known:
            if number.split("/")[:2] == [benchmark, ending]:
                return str(number)
    raise DataError(f"{run} has no score of {benchmark}. Delete its evaluation folder, and go on.")


def _number(
    kept: KeptEvaluation,
    run: Path,
    metric: str,
    number: str,
    factor: float,
    *,
    who: str = "student",
    optional: bool = False,
) -> float | None:
    found = kept.results["numbers"].get(who, {}).get(metric, {}).get(number, {}).get("value")
    if found is None:
        if optional:
            return None
        raise DataError(
            f"{EvaluationFolder(run, 'test').path / 'results.json'} has no {number} of the "
            f"{who} (metric {metric}). Delete that folder, and give the same command again."
        )
    return factor * float(found)


def _agreement(beside: Sequence[Mapping[str, Any]], alone: Sequence[Mapping[str, Any]]) -> float:
    """Share of the supervised student's answers that are the teacher's, as the metric counts."""
    theirs = {item["id"]: item["texts"]["teacher"] for item in beside}
    judged = [item for item in alone if theirs[item["id"]]["correct"] is not None]
    same = sum(
        item["texts"]["student"]["answer"] is not None
        and item["texts"]["student"]["answer"] == theirs[item["id"]]["answer"]
        for item in judged
    )
    return 100 * same / len(judged)
