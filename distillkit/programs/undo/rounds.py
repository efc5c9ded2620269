"""The rounds of UNDO: lessons, training, diagnosis, and again until nothing is gained.

The same loop serves the controls, which differ only in what the teacher is told.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.core.files import write_json_lines
from distillkit.core.shapes import Learnability
from distillkit.core.types import Answer
from distillkit.datasets.faults import Fault, fault_of
from distillkit.evaluation.convergence import Decision, decide
from distillkit.programs.undo.course import Course
from distillkit.programs.undo.lessons import Errors, Round, account, records_of, write_round
from distillkit.run import Begin


@dataclass(frozen=True, slots=True)
class Iteration:
    """One student, and what it learnt from."""

    name: str
    """Of its run directory."""
    number: int
    """Of the round."""
    lessons: Path
    """The file."""
    student: Path
    """Folder of the trained student."""
    validation: Sequence[Answer]
    """Its answers."""
    faults: Sequence[Fault | None]
    """Kind of error of each, None where it is right."""
    numbers: dict[str, Any]
    """What is reported of it."""

    @property
    def accuracy(self) -> float:
        """On validation."""
        return sum(bool(text.correct) for text in self.validation) / len(self.validation)


def first_round(course: Course) -> Iteration:
    """One-shot distillation: the teacher writes once, without knowing the student."""
    file = course.directory.path / "lessons-0.jsonl"
    write_round(course, Round(0, file))
    return _distilled(course, "iteration-0", 0, file, before=None)


def targeted(course: Course, first: Iteration) -> tuple[list[Iteration], Decision]:
    """Rewrite for the student's errors until validation gains no more."""
    done = [first]
    while (decision := _decide(course, done)).stop is None:
        last = done[-1]
        number = last.number + 1
        file = course.directory.path / f"lessons-{number}.jsonl"
        if not course.directory.holds(file.name):
            before = [each.lessons for each in done]
            write_round(course, Round(number, file, before, errors=_diagnosis(course, last)))
        done.append(_distilled(course, f"iteration-{number}", number, file, before=last))
    return done, decision


def untargeted(
    course: Course, first: Iteration, *, name: str, rounds: int, like: Sequence[Iteration] = ()
) -> list[Iteration]:
    """As many rewritings by a teacher that is shown nothing of the student's.

    Args:
        course: the run.
        first: the one-shot iteration that both begin with.
        name: of the control, as in ``untargeted-1``.
        rounds: how many.
        like: targeted iterations whose lessons' lengths are asked for; none leaves them open.
    """
    done = [first]
    for number in range(1, rounds + 1):
        file = course.directory.path / f"lessons-{name}-{number}.jsonl"
        before = [each.lessons for each in done]
        as_long_as = like[number].lessons if like else None
        write_round(course, Round(number, file, before, as_long_as=as_long_as))
        done.append(_distilled(course, f"{name}-{number}", number, file, before=done[-1]))
    return done[1:]


def best(iterations: Sequence[Iteration]) -> Iteration:
    """The earliest of those with the highest validation accuracy."""
    return max(iterations, key=lambda each: (each.accuracy, -each.number))


def _decide(course: Course, done: Sequence[Iteration]) -> Decision:
    run = course.run
    return decide(
        [each.accuracy for each in done],
        items=len(course.validation),
        iterations=run.iterations,
        patience=run.patience,
        min_gain=run.min_gain,
    )


def _diagnosis(course: Course, last: Iteration) -> Errors:
    with course.watch.running():
        student = course.student(last.student)
        own = course.answered(student, course.run.dataset, course.questions)
    return Errors(records_of(course, last.validation), last.faults, own)


def _distilled(
    course: Course, name: str, number: int, file: Path, *, before: Iteration | None
) -> Iteration:
    """Train on the lessons, question the student on validation, and report."""
    run = course.run
    begin = before.student if before and run.begin is Begin.previous else None
    with course.watch.running():
        learnable = course.directory.kept(
            f"learnability-{name}.json",
            lambda: course.learnability(course.student(begin), file),
            shape=Learnability,
        )
    course.watch.say(
        f"{name}: lessons of {learnable['mean_tokens']:.1f} tokens, "
        f"{learnable['nll_before']:.3f} nats a token before training"
    )
    student = course.train(name, file, begin=begin, steps=run.steps)
    with course.watch.running():
        answers = course.answered(course.student(student), run.dataset, course.validation)
    faults = [
        None if text.correct else fault_of(run.dataset, example, text.text)
        for example, text in zip(course.validation, answers, strict=True)
    ]
    changes = _changes(answers, before.validation if before else None)
    _write_errors(course, name, answers, faults, changes)
    numbers = {
        **learnable,
        **account(file, number, asked=len(course.questions)),
        "faults": {str(kind): Counter(faults)[kind] for kind in Fault},
        "changes": dict(Counter(changes)),
    }
    found = Iteration(name, number, file, student, answers, faults, numbers)
    course.watch.say(f"{name}: {found.accuracy:.1%} of {len(answers)} validation items right")
    return found


def _changes(now: Sequence[Answer], before: Sequence[Answer] | None) -> list[str]:
    """What became of each item since the iteration before."""
    names = {
        (False, True): "fixed",
        (False, False): "still wrong",
        (True, False): "newly broken",
        (True, True): "still right",
    }
    if before is None:
        return ["right" if text.correct else "wrong" for text in now]
    return [
        names[bool(old.correct), bool(new.correct)] for old, new in zip(before, now, strict=True)
    ]


def _write_errors(
    course: Course,
    name: str,
    answers: Sequence[Answer],
    faults: Sequence[Fault | None],
    changes: Sequence[str],
) -> None:
    rows = [
        {
            "id": example.id,
            "question": example.question,
            "answer": example.answer,
            "student": text.text,
            "correct": text.correct,
            "fault": found and str(found),
            "change": change,
        }
        for example, text, found, change in zip(
            course.validation, answers, faults, changes, strict=True
        )
    ]
    write_json_lines(course.directory.path / f"errors-{name}.jsonl", rows)
