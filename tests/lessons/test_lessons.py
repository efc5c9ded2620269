"""Lessons: which texts are accepted, what stands in for the others, and what may never pass."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from distillkit.core.keeper import Keeper
from distillkit.core.store import Store
from distillkit.core.types import Example, Message
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.base import ask
from distillkit.datasets.gsm8k import PROMPT
from distillkit.endpoints.chat import Reply
from distillkit.lessons.base import Request, WritingTeacher
from distillkit.lessons.lessons import Lesson, Status, shares, write_lessons

RIGHT = "30 + 12 = 42\n#### 42"
WRONG = "30 - 12 = 18\n#### 18"


class Scripted(WritingTeacher):
    """Writes what it was told to, by example and attempt; the last text for all further ones."""

    def __init__(self, script: Mapping[str, Sequence[str | Reply]]) -> None:
        self.script = script
        self.asked: list[list[tuple[str, int]]] = []

    @property
    def name(self) -> str:
        return "scripted"

    def write(self, requests: Sequence[Request], *, keeper: Keeper) -> list[Reply]:
        self.asked.append([(request.example.id, request.attempt) for request in requests])
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply:
        texts = self.script[request.example.id]
        text = texts[min(request.attempt, len(texts) - 1)]
        if isinstance(text, Reply):
            return text
        return Reply(text, prompt_tokens=10, completion_tokens=request.attempt + 1, **STOP)


STOP = {"finish_reason": "stop"}


def request(name: str = "a", *lessons: str, question: str = "30 and 12?", **fields: str) -> Request:
    example = Example(name, ask(question), **{"reference": "", "answer": "42", **fields})
    return Request(example, (Message("user", f"Explain {question}"),), lessons)


def write(
    teacher: WritingTeacher,
    requests: Sequence[Request],
    tmp_path: Path,
    *,
    retries: int = 2,
    forbidden: Sequence[str] = (),
) -> list[Lesson]:
    keeper = Keeper(
        Store(tmp_path / "kept"),
        batch_size=2,
        poll=lambda: None,
        progress=lambda *_: None,
        say=lambda _: None,
    )
    return write_lessons(
        teacher,
        requests,
        dataset=Arithmetic(),
        iteration=3,
        retries=retries,
        forbidden=forbidden,
        keeper=keeper,
    )


def passes(text: str | Reply, forbidden: Sequence[str], tmp_path: Path, **fields: str) -> bool:
    found = write(
        Scripted({"a": [text]}), [request(**fields)], tmp_path, retries=0, forbidden=forbidden
    )
    return [lesson.status for lesson in found] == [Status.accepted]


def test_a_row_says_where_its_lesson_comes_from(tmp_path: Path) -> None:
    (lesson,) = write(Scripted({"a": [f"Well.\n### new_answer\n{RIGHT}"]}), [request()], tmp_path)
    assert asdict(lesson) == {
        "id": "a",
        "question": "30 and 12?",
        "lesson": RIGHT,
        "answer": "42",
        "iteration": 3,
        "teacher": "scripted",
        "prompt": lesson.prompt,
        "status": "accepted",
        "attempts": 1,
        "prompt_tokens": 10,
        "completion_tokens": 1,
    }
    assert len(lesson.prompt) == 16
    assert int(lesson.prompt, 16) >= 0


def test_the_prompts_digest_is_of_every_turn_and_of_nothing_else(tmp_path: Path) -> None:
    def digest(asked: Request, text: str = RIGHT) -> str:
        return write(Scripted({"a": [WRONG, text]}), [asked], tmp_path)[0].prompt

    one = request()
    other = replace(one, conversation=(Message("system", "x"), *one.conversation))
    assert digest(one) == digest(one, f"Therefore\n{RIGHT}") == digest(replace(one, words=3))
    assert digest(one) != digest(other)
    spoken = replace(one, conversation=(Message("assistant", one.conversation[0].content),))
    assert digest(one) != digest(spoken)


def test_what_is_refused_is_asked_again_alone_and_its_tokens_are_summed(tmp_path: Path) -> None:
    teacher = Scripted({"a": [RIGHT], "b": [WRONG, "", RIGHT], "c": [WRONG, RIGHT]})
    found = write(teacher, [request(name) for name in "bac"], tmp_path)
    assert teacher.asked == [
        [("b", 0), ("a", 0), ("c", 0)],
        [("b", 1), ("c", 1)],
        [("b", 2)],
    ]
    assert [(lesson.id, str(lesson.status), lesson.attempts) for lesson in found] == [
        ("b", "retried", 3),
        ("a", "accepted", 1),
        ("c", "retried", 2),
    ]
    assert [lesson.lesson for lesson in found] == [RIGHT] * 3
    assert [lesson.prompt_tokens for lesson in found] == [30, 10, 20]
    assert [lesson.completion_tokens for lesson in found] == [6, 1, 3]


def test_what_is_refused_to_the_end_falls_back_on_what_is_known(tmp_path: Path) -> None:
    requests = [
        request("a", "oldest", "newest", reference="the reference"),
        request("b", reference="the reference"),
        request("c"),
        request("d", reference="unused"),
    ]
    teacher = Scripted({"a": [WRONG], "b": [WRONG], "c": [WRONG], "d": [RIGHT]})
    found = write(teacher, requests, tmp_path, retries=1)
    assert [(lesson.id, lesson.lesson, str(lesson.status)) for lesson in found] == [
        ("a", "newest", "fallback"),
        ("b", "the reference", "fallback"),
        ("d", RIGHT, "accepted"),
    ]
    assert [lesson.attempts for lesson in found] == [2, 2, 1]
    assert found[0].completion_tokens == 1 + 2
    assert shares(found, asked=4) == {
        "accepted": 0.25,
        "retried": 0.0,
        "fallback": 0.5,
        "dropped": 0.25,
        "attempts": pytest.approx(5 / 3),
    }


def test_without_retries_every_request_is_asked_once(tmp_path: Path) -> None:
    teacher = Scripted({"a": [WRONG, RIGHT]})
    assert write(teacher, [request()], tmp_path, retries=0) == []
    assert teacher.asked == [[("a", 0)]]
    assert shares([], asked=1)["dropped"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "### new_answer\n",
        "It is 42.",
        "#### 42 or rather\n#### 43",
        "<think>#### 42",
        Reply(RIGHT, 1, 1, "length"),
    ],
    ids=str,
)
def test_a_text_that_does_not_reach_the_answer_is_refused(
    text: str | Reply, tmp_path: Path
) -> None:
    assert not passes(text, [], tmp_path)
    assert passes("#### 43 or rather\n#### 42", [], tmp_path)


@pytest.mark.parametrize("counted", [Reply(WRONG, None, 4, "stop"), Reply(WRONG, 4, None, "stop")])
def test_tokens_that_a_server_does_not_count_are_unknown_and_not_none(
    counted: Reply, tmp_path: Path
) -> None:
    (lesson,) = write(Scripted({"a": [counted, RIGHT]}), [request()], tmp_path)
    known = {"prompt_tokens": 14, "completion_tokens": 6}
    missing = "prompt_tokens" if counted.prompt_tokens is None else "completion_tokens"
    for field, number in known.items():
        assert getattr(lesson, field) == (None if field == missing else number)


QUESTION = "Anna has 12 eggs and finds 30 more. How many has she now?"
WORK = "Anna begins with 12.\n12 + 30 = 42\nSo there are 42 eggs.\n#### 42"
BAIT = [QUESTION, WORK]


@pytest.mark.parametrize(
    "copied",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(" ", "  \n"),
        f"Remember: {QUESTION} That was hard.",
        WORK.removesuffix("\n#### 42"),
        " ".join(WORK.split()),
        WORK.replace("\n", "\r\n\t"),
    ],
)
def test_a_teacher_that_copies_a_validation_example_is_refused(copied: str, tmp_path: Path) -> None:
    # Copied work gets the end that is right here.
    forbidden = [QUESTION, WORK.replace("#### 42", "#### 57")]
    assert not passes(f"{copied}\n#### 42", forbidden, tmp_path)
    assert passes(f"{copied}\n#### 42", [], tmp_path)
    (lesson,) = write(
        Scripted({"a": [f"{copied}\n#### 42", RIGHT]}), [request()], tmp_path, forbidden=forbidden
    )
    assert (lesson.lesson, lesson.status) == (RIGHT, "retried")
    (lesson,) = write(
        Scripted({"a": [f"{copied}\n#### 42"]}),
        [request("a", "earlier lesson")],
        tmp_path,
        forbidden=forbidden,
    )
    assert (lesson.lesson, lesson.status) == ("earlier lesson", "fallback")


@pytest.mark.parametrize("wrapper", [PROMPT, "Solve this, step by step:\n{question}\nAnswer:\n"])
def test_a_question_is_known_without_the_instruction_that_all_questions_share(
    wrapper: str, tmp_path: Path
) -> None:
    wrapped, own = wrapper.format(question=QUESTION), wrapper.format(question="30 and 12?")
    copied = f"A similar one: {QUESTION}\n{RIGHT}"
    assert not passes(copied, [wrapped], tmp_path, question=own)
    assert not passes(f"{wrapped}\n{RIGHT}", [wrapped], tmp_path, question=own)
    instruction = wrapper.format(question="Now:")
    assert passes(f"{instruction}\n{RIGHT}", [wrapped], tmp_path, question=own)


def test_a_question_is_known_around_a_line_that_all_questions_share(tmp_path: Path) -> None:
    question = "Anna has 12.\nThink of this:\nShe finds 30."
    own = "30 and 12?\nThink of this:\nHow many?"
    assert not passes(f"{question}\n{RIGHT}", [question], tmp_path, question=own)


def test_what_is_ones_own_or_too_short_to_tell_may_be_said(tmp_path: Path) -> None:
    copied = f"{QUESTION}\n{RIGHT}"
    assert passes(copied, BAIT, tmp_path, question=QUESTION.upper())
    assert passes(copied, BAIT, tmp_path, reference=f"First, {QUESTION}")
    assert passes(f"{WORK}\n", [QUESTION, WORK], tmp_path, reference=WORK)
    assert not passes(copied, BAIT, tmp_path, reference="Anna has 12 eggs")
    assert passes("30 plus 12 is 42.\n#### 42", ["30 plus 12 is 42."], tmp_path)
    assert not passes("Now 30 plus 12 is 42.\n#### 42", ["Now 30 plus 12 is 42"], tmp_path)


def test_each_request_is_free_to_say_its_own_question_and_no_others(tmp_path: Path) -> None:
    copied = f"{QUESTION}\n{RIGHT}"
    found = write(
        Scripted({"a": [copied], "b": [copied]}),
        [request("a", question=QUESTION), request("b")],
        tmp_path,
        forbidden=BAIT,
    )
    assert [lesson.id for lesson in found] == ["a"]
