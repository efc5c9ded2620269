"""Lessons that may be learnt from: every text checked, refused ones written again.

After step 6 of UNDO (arXiv:2504.02521): a lesson must reach the right answer. It may also hold no
validation question and no answer to one, which the teacher was shown and training must not see.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from distillkit.core.keeper import Keeper
from distillkit.core.store import key_of
from distillkit.core.types import Example
from distillkit.datasets.base import Dataset
from distillkit.endpoints.replies import Reply
from distillkit.lessons.base import Request, WritingTeacher
from distillkit.lessons.prompts import lesson_of

SHORT = 20
"""Characters below which a forbidden text is too common to tell a copy from chance."""


class Status(StrEnum):
    """How a lesson came about."""

    accepted = "accepted"
    retried = "retried"
    fallback = "fallback"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A training question and what is taught about it, one row of ``lessons-<iteration>.jsonl``."""

    id: str
    """Of the training example."""
    question: str
    """Its text."""
    lesson: str
    """What the student learns."""
    answer: str
    """The right answer."""
    iteration: int
    """The round for which it was asked."""
    teacher: str
    """Who was asked."""
    prompt: str
    """16 hex digits of the conversation with which the teacher was asked."""
    status: Status
    """Accepted at once, accepted when retried, or a fallback: the newest earlier lesson, else the
    dataset's reference."""
    attempts: int
    """Texts that the teacher wrote for it, refused ones included."""
    prompt_tokens: int | None
    """Read over all attempts; None where the teacher does not count."""
    completion_tokens: int | None
    """Written over all attempts; None where the teacher does not count."""


def write_lessons(
    teacher: WritingTeacher,
    requests: Sequence[Request],
    *,
    dataset: Dataset,
    iteration: int,
    retries: int,
    forbidden: Sequence[str],
    keeper: Keeper,
) -> list[Lesson]:
    """A lesson for each request, in order; none where nothing was accepted and nothing is known.

    Args:
        teacher: who writes.
        requests: one for each training question, of attempt 0.
        dataset: judges the answers.
        iteration: number of the round.
        retries: times that a refused request is asked again.
        forbidden: validation questions and right answers to them, with or without their last
            lines. What an entry shares with a request's own question, line by line, such as how to
            end, is not forbidden there, nor is one that its own question or reference holds.
        keeper: see :class:`WritingTeacher`.
    """
    banned = _Forbidden(forbidden)
    replies: list[list[Reply]] = [[] for _ in requests]
    accepted: dict[int, str] = {}
    waiting = list(range(len(requests)))
    for attempt in range(retries + 1):
        if not waiting:
            break
        asked = [replace(requests[row], attempt=attempt) for row in waiting]
        for row, reply in zip(waiting, teacher.write(asked, keeper=keeper), strict=True):
            replies[row].append(reply)
            text, example = lesson_of(reply.text), requests[row].example
            if _is_right(reply, text, example, dataset) and not banned.held(text, example):
                accepted[row] = text
        waiting = [row for row in waiting if row not in accepted]
    lessons = (
        _lesson(request, accepted.get(row), replies[row], teacher.name, iteration)
        for row, request in enumerate(requests)
    )
    return [lesson for lesson in lessons if lesson.lesson]


def shares(lessons: Sequence[Lesson], asked: int) -> dict[str, float]:
    """Shares of the asked questions by status, those dropped, and mean attempts of a lesson."""
    counts = Counter(lesson.status for lesson in lessons)
    return {
        **{str(status): counts[status] / max(asked, 1) for status in Status},
        "dropped": (asked - len(lessons)) / max(asked, 1),
        "attempts": sum(lesson.attempts for lesson in lessons) / max(len(lessons), 1),
    }


def _is_right(reply: Reply, text: str, example: Example, dataset: Dataset) -> bool:
    """Whether a text is whole and reaches the answer."""
    # Cut by the limit, its last number may be right by chance, and it would teach no ending.
    whole = reply.finish_reason != "length"
    return bool(text) and whole and dataset.is_correct(example, text)


def _lesson(
    request: Request, text: str | None, replies: Sequence[Reply], teacher: str, iteration: int
) -> Lesson:
    example = request.example
    status = Status.accepted if len(replies) == 1 else Status.retried
    if text is None:
        status = Status.fallback
        text = request.lessons[-1] if request.lessons else example.reference
    turns = [[turn.role, turn.content] for turn in request.conversation]
    return Lesson(
        id=example.id,
        question=example.question,
        lesson=text,
        answer=example.answer,
        iteration=iteration,
        teacher=teacher,
        prompt=key_of(turns)[:16],
        status=status,
        attempts=len(replies),
        prompt_tokens=total(reply.prompt_tokens for reply in replies),
        completion_tokens=total(reply.completion_tokens for reply in replies),
    )


def total(counts: Iterable[int | None]) -> int | None:
    """Their sum; None where one is missing, since less than the truth would pass for it."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _plain(text: str) -> str:
    """In lower case with single spaces."""
    return " ".join(text.casefold().split())


def _lines(text: str) -> list[str]:
    return [line for line in map(_plain, text.splitlines()) if line]


class _Forbidden:
    """Texts that no lesson may hold, whatever its case and its white space."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._entries = [_lines(text) for text in dict.fromkeys(texts)]
        self._every_line = {line for entry in self._entries for line in entry}
        self._known: dict[frozenset[str], list[str]] = {}

    def held(self, text: str, example: Example) -> bool:
        """Whether a lesson for an example holds one of them that is not the example's own."""
        question = "\n".join(turn.content for turn in example.prompt)
        shared = self._every_line.intersection(_lines(question))
        lesson, own = _plain(text), (_plain(question), _plain(example.reference))
        return any(
            entry in lesson and not any(entry in mine for mine in own)
            for entry in self._without(frozenset(shared))
        )

    def _without(self, shared: frozenset[str]) -> list[str]:
        """The entries, whole and less these lines, each without its end too; none too short.

        A copied answer may be given the end that makes it right for another question.
        """
        if shared not in self._known:
            less = [[line for line in entry if line not in shared] for entry in self._entries]
            both = [*self._entries, *less]
            found = {" ".join(lines) for entry in both for lines in (entry, entry[:-1])}
            self._known[shared] = [entry for entry in found if len(entry) >= SHORT]
        return self._known[shared]
