"""Small evaluations and rows, typed by hand, and the smallest study that has all parts."""

from pathlib import Path

from distillkit.evaluation.fidelity_study.own import Cell, Row
from distillkit.evaluation.folder import EvaluationFolder

LIKE = {"agreement": 40.0, "agreement_teacher_wrong": 10.0, "bleu": 60.0, "rouge": 70.0}
LIKE |= {"top1": 90.0, "kl": 0.2}

SMALL = (
    'train="tracker=none debug=smoke"',
    'teachers.large="teacher=embedded"',
    *("~teachers.small", "~students.classmate", "~students.student"),
    *("~tasks.market", "~tasks.journey", "~tasks.trip", "ablation=[]"),
    *('supervised="steps=1"', 'distilled="steps=1"', "examples=8"),
)
"""A finished teacher, one student, one task: six trainings of one step."""


def evaluation(
    run: Path,
    answers: list[str | None],
    *,
    right: list[str],
    teacher: list[str] | None = None,
    examples: str = "the same",
    benchmarks: dict[str, float] | None = None,
    **changes: float | None,
) -> Path:
    """An evaluation of answers, beside those of a teacher where it has one.

    Args:
        run: the run directory.
        answers: as read off the student's texts.
        right: of the examples.
        teacher: its answers.
        examples: digest of the examples.
        benchmarks: the student's scores there.
        changes: numbers of the student to be set otherwise, taken out by None.
    """
    share = sum(own == one for own, one in zip(answers, right, strict=True)) / len(right)
    numbers = {
        "student": {"accuracy": {"accuracy": share, "parse_rate": 1.0}},
        "teacher": {"accuracy": {"accuracy": 0.75}},
    }
    if benchmarks:
        numbers["student"]["lm_eval"] = benchmarks
    if teacher is not None:
        numbers["student"] |= {
            "agreement": {"agreement": 0.5, "agreement_teacher_wrong": 0.25},
            "similarity": {"bleu_to_teacher": 61.0, "rouge_l_to_teacher": 71.0},
            "divergence": {"top1_teacher": 0.9, "forward_kl_teacher": 0.2},
        }
    for of in numbers["student"].values():
        of.update({name: value for name, value in changes.items() if name in of})
    folder = EvaluationFolder(run, "test")
    items = [
        {
            "id": str(place),
            "prompt": "?",
            "texts": {
                "student": {"text": "", "answer": own, "correct": own == one},
                **(
                    {"teacher": {"text": "", "answer": teacher[place], "correct": True}}
                    if teacher
                    else {}
                ),
            },
        }
        for place, (own, one) in enumerate(zip(answers, right, strict=True))
    ]
    told = {
        who: {
            metric: {
                name: {"value": value, "low": None, "high": None} for name, value in of.items()
            }
            for metric, of in metrics.items()
        }
        for who, metrics in numbers.items()
    }
    results = {"n": len(right), "fingerprint": "f", "metrics": {}, "examples": examples}
    folder.write({**results, "numbers": told}, tallies={}, items=items)
    return run


def row(
    accuracy: float,
    sft: float,
    *,
    teacher: str = "large",
    student: str = "pupil",
    task: str = "chain",
    tau: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
    **changes: float | None,
) -> Row:
    """A row whose likeness is that of ``LIKE`` unless changed."""
    return Row(
        cell=Cell(teacher, student, task, "forward_kl", tau, noise, seed),
        accuracy=accuracy,
        sft_accuracy=sft,
        teacher_accuracy=80.0,
        parse_rate=100.0,
        student_size=0.001,
        sft_agreement=30.0,
        **{**LIKE, **changes},
    )
