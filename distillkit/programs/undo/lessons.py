"""Lessons of an UNDO run: who writes them, what each request shows, where they are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distillkit.core.errors import DataError
from distillkit.core.files import write_json_lines
from distillkit.core.seeds import child_random
from distillkit.core.types import Answer
from distillkit.datasets.faults import Fault
from distillkit.datasets.json_lines import read_json_lines
from distillkit.lessons.base import Request, ValidationRecord, WritingTeacher
from distillkit.lessons.choosing import choose
from distillkit.lessons.endpoint import EndpointTeacher, ServedTeacher
from distillkit.lessons.lessons import Lesson, Status, shares, total, write_lessons
from distillkit.lessons.local import LocalTeacher
from distillkit.lessons.tutor import RuleTutor, Tutor
from distillkit.models.identity import digest_of_writer
from distillkit.models.loading import load, pick_device
from distillkit.models.pretrained import Teacher
from distillkit.programs.undo.course import Course
from distillkit.run import Lessons


@dataclass(frozen=True, slots=True)
class Errors:
    """The student as a teacher is shown it: on all validation items and all training questions."""

    records: Sequence[ValidationRecord]
    """The validation items."""
    faults: Sequence[Fault | None]
    """Of each, None where it is right."""
    own: Sequence[Answer]
    """Its answers to the training questions."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of writing."""

    number: int
    """0 for the first."""
    file: Path
    """Where its lessons go."""
    before: Sequence[Path] = ()
    """Files of the earlier rounds, oldest first."""
    errors: Errors | None = None
    """What the teacher is shown; None shows it nothing of the student's."""
    as_long_as: Path | None = None
    """File of lessons whose lengths are asked for; None leaves them to the teacher."""


def hire(course: Course) -> WritingTeacher:
    """The run's teacher, ready to write."""
    run = course.run
    match run.teacher:
        case Tutor():
            return RuleTutor(run.teacher, run.dataset)
        case EndpointTeacher():
            return ServedTeacher(run.teacher)
        case Teacher():
            model = load(run.teacher, device=pick_device(run.device), precision=run.precision)
            weights = digest_of_writer(model)
            return LocalTeacher(
                model, run.writing, weights=weights, name=run.teacher.name, seed=run.seed
            )
    raise AssertionError(f"no way to ask a {type(run.teacher).__name__}")


def write_round(course: Course, this: Round) -> None:
    """Have the lessons of a round written, unless their file is there.

    Raises:
        DataError: nothing that can be learnt from was written, and nothing was there before.
    """
    if course.directory.holds(this.file.name):
        return
    run = course.run
    requests = _requests(course, this)
    shown = [record for request in requests for record in request.evidence]
    counts = course.replies.made["lessons"], course.replies.reused["lessons"]
    with course.watch.running():
        lessons = write_lessons(
            hire(course),
            requests,
            dataset=run.dataset,
            iteration=this.number,
            retries=run.retries,
            forbidden=[text for record in shown for text in (record.question, record.lesson)],
            keeper=course.replies,
        )
    if not lessons:
        raise DataError(
            f"none of {len(requests)} lessons reached the right answer, and the dataset has no "
            "rationale to fall back on. Try another teacher, or prompt=..."
        )
    rows: list[Mapping[str, Any]] = [asdict(lesson) for lesson in lessons]
    if run.lessons is Lessons.all and this.before:
        rows += read_json_lines(this.before[-1])
    write_json_lines(this.file, rows)
    course.directory.enter(this.file.name)
    made, reused = course.replies.made["lessons"], course.replies.reused["lessons"]
    found = shares(lessons, len(requests))
    course.watch.say(
        f"{this.file.name}: {made - counts[0]} texts written by {lessons[0].teacher}, "
        f"{reused - counts[1]} kept from before; "
        + ", ".join(f"{found[name]:.0%} {name}" for name in (*Status, "dropped"))
    )


def account(file: Path, number: int, *, asked: int) -> dict[str, Any]:
    """How the writing of a round went: shares by status, calls and tokens (None where unknown)."""
    rows = [row for row in read_json_lines(file) if row["iteration"] == number]
    lessons = [Lesson(**{**row, "status": Status(row["status"])}) for row in rows]
    return {
        **shares(lessons, asked),
        "calls": sum(lesson.attempts for lesson in lessons),
        "prompt_tokens": total(lesson.prompt_tokens for lesson in lessons),
        "completion_tokens": total(lesson.completion_tokens for lesson in lessons),
    }


def _requests(course: Course, this: Round) -> list[Request]:
    earlier = [_by_id(file, number) for number, file in enumerate(this.before)]
    lengths = _by_id(this.as_long_as, this.number) if this.as_long_as else {}
    requests = []
    for row, example in enumerate(course.questions):
        request = Request(
            example,
            conversation=(),
            lessons=tuple(by_id[example.id] for by_id in earlier if example.id in by_id),
            words=len(lengths[example.id].split()) if example.id in lengths else None,
        )
        if this.errors is not None:
            request = _shown(course, request, this.errors, row, this.number)
        conversation = course.run.prompt.conversation(request)
        requests.append(replace(request, conversation=conversation))
    return requests


def _shown(course: Course, request: Request, errors: Errors, row: int, number: int) -> Request:
    """The request with the student's answer to it, and with a choice of its validation answers."""
    run, own = course.run, errors.own[row]
    evidence = choose(
        errors.records,
        errors.faults,
        wrong=run.evidence.wrong,
        right=run.evidence.right,
        draw=child_random(run.seed, "evidence", number, request.example.id),
    )
    return replace(request, answer=own.text, correct=own.correct, evidence=evidence)


def _by_id(file: Path, number: int) -> Mapping[str, str]:
    """Lessons of one round by question."""
    rows = read_json_lines(file)
    return {row["id"]: row["lesson"] for row in rows if row["iteration"] == number}


def records_of(course: Course, answers: Sequence[Answer]) -> list[ValidationRecord]:
    """The student's validation answers as a teacher is shown them."""
    return [
        ValidationRecord(
            each.id, each.question, each.reference or each.answer, text.text, bool(text.correct)
        )
        for each, text in zip(course.validation, answers, strict=True)
    ]
