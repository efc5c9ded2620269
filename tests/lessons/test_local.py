"""A local teacher: what it writes, writes again, keeps, and refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from distillkit.core.errors import ConfigError, DataError, Interrupted
from distillkit.core.keeper import Keeper
from distillkit.core.store import Store
from distillkit.core.types import Message
from distillkit.lessons.base import Request
from distillkit.lessons.local import LocalTeacher
from distillkit.lessons.settings import Writing
from distillkit.models.identity import digest_of
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import PromptStyle, Teacher
from tests.tiny import TOKENIZER, build, example

WRITING = Writing(max_new_tokens=8, batch_size=3)
LENGTH = 8


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return build(side=Teacher)


def keeper(path: Path, *, poll: Callable[[], None] = lambda: None) -> Keeper:
    return Keeper(
        Store(path), batch_size=2, poll=poll, progress=lambda *_: None, say=lambda _: None
    )


def teacher(model: LanguageModel, writing: Writing = WRITING, *, seed: int = 0) -> LocalTeacher:
    return LocalTeacher(model, writing, weights=digest_of(model.module), name="tiny", seed=seed)


def request(question: str, attempt: int = 0, *, name: str = "") -> Request:
    asked = (Message("user", f"Explain: {question}"),)
    return Request(example(question, name=name), asked, attempt=attempt)


def requests(count: int, attempt: int = 0) -> list[Request]:
    return [request(f"{number} + 1 = {'?' * (number % 3)}", attempt) for number in range(count)]


def texts(replies: list) -> list[str]:
    return [reply.text for reply in replies]


def test_the_first_attempt_is_what_the_model_finds_likeliest_after_the_conversation(
    model: LanguageModel, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    for asked in requests(3):
        (reply,) = teacher(model).write([asked], keeper=keeper(tmp_path / "kept"))
        ids = tokenizer(f"{asked.conversation[0].content}\n", return_tensors="pt")["input_ids"]
        likeliest = model.module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=LENGTH, do_sample=False
        )[0, ids.shape[1] :]
        assert reply.text == tokenizer.decode(likeliest, skip_special_tokens=True)
        assert reply.prompt_tokens == ids.shape[1]
        assert reply.completion_tokens == len(likeliest)
        assert reply.finish_reason == ("stop" if likeliest[-1] == model.end_id else "length")
        assert not reply.reused


def test_a_text_that_ends_by_itself_says_so(tmp_path: Path) -> None:
    model = build(side=Teacher)
    (cut,) = teacher(model).write(requests(1), keeper=keeper(tmp_path / "kept"))
    assert (cut.finish_reason, cut.completion_tokens) == ("length", LENGTH)
    # Kept by what ends a text, too: the same store has no answer for this.
    model.stop_ids = frozenset(range(model.head.vocabulary))
    (ended,) = teacher(model).write(requests(1), keeper=keeper(tmp_path / "kept"))
    assert (ended.finish_reason, ended.completion_tokens, ended.reused) == ("stop", 1, False)


def test_every_later_attempt_brings_another_text_and_the_same_one_each_time(
    model: LanguageModel, tmp_path: Path
) -> None:
    mixed = [request("2 + 2", attempt) for attempt in (3, 0, 2, 1)]
    replies = texts(teacher(model).write(mixed, keeper=keeper(tmp_path / "kept")))
    assert len(set(replies)) == 4
    for attempt, reply in zip((3, 0, 2, 1), replies, strict=True):
        beside = [*requests(3, attempt), request("2 + 2", attempt)]
        again = teacher(model).write(beside, keeper=keeper(tmp_path / f"alone-{attempt}"))
        assert again[-1].text == reply


def test_equal_questions_share_the_likeliest_text_and_no_drawn_one(
    model: LanguageModel, tmp_path: Path
) -> None:
    keep = keeper(tmp_path / "kept")
    both = [[request("2 + 2", attempt, name=name) for name in "ab"] for attempt in (0, 1)]
    first, second = texts(teacher(model).write(both[0], keeper=keep))
    assert first == second
    assert keep.made["lessons"] == 1
    first, second = texts(teacher(model).write(both[1], keeper=keep))
    assert first != second
    assert keep.made["lessons"] == 3


def test_a_teacher_that_is_stopped_goes_on_and_writes_nothing_twice(
    model: LanguageModel, tmp_path: Path
) -> None:
    asked = [*requests(9), *requests(9, 1)]
    whole = teacher(model).write(asked, keeper=keeper(tmp_path / "whole"))
    polls = iter(range(100))

    def stop_later() -> None:
        if next(polls) == 6:
            raise Interrupted("stopped", signal=2)

    stopped = keeper(tmp_path / "kept", poll=stop_later)
    with pytest.raises(Interrupted):
        teacher(model).write(asked, keeper=stopped)
    assert 0 < stopped.made["lessons"] < 9

    resumed = keeper(tmp_path / "kept")
    replies = teacher(model).write(asked, keeper=resumed)
    assert texts(replies) == texts(whole)
    assert stopped.made["lessons"] + resumed.made["lessons"] == 18
    assert resumed.reused["lessons"] == stopped.made["lessons"]
    assert sum(reply.reused for reply in replies) == stopped.made["lessons"]

    idle = keeper(tmp_path / "kept")
    assert all(reply.reused for reply in teacher(model).write(asked, keeper=idle))
    assert (idle.made["lessons"], idle.reused["lessons"]) == (0, 18)


def test_a_text_is_kept_for_those_who_would_write_the_same_alone(
    model: LanguageModel, tmp_path: Path
) -> None:
    def made(by: LocalTeacher, attempt: int) -> bool:
        keep = keeper(tmp_path / "kept")
        by.write([request("2 + 2", attempt)], keeper=keep)
        return keep.made["lessons"] == 1

    for attempt in (0, 1):
        assert made(teacher(model), attempt)
        assert not made(teacher(model, Writing(max_new_tokens=8, batch_size=1)), attempt)
        assert made(teacher(model, Writing(max_new_tokens=7)), attempt)
        assert made(teacher(build(side=Teacher, seed=attempt + 1)), attempt)
    assert not made(teacher(model, seed=1), 0)
    assert made(teacher(model, seed=1), 1)
    assert made(teacher(model, Writing(max_new_tokens=8, temperature=0.5)), 0)
    assert made(teacher(model, Writing(max_new_tokens=8, retry_temperature=0.5)), 1)
    assert made(teacher(model, Writing(max_new_tokens=8, top_p=0.5)), 1)


def test_a_conversation_that_fills_the_context_is_named_before_anything_is_written(
    model: LanguageModel, tmp_path: Path
) -> None:
    keep = keeper(tmp_path / "kept")
    asked = [*requests(4), request("2 + 2 " * 40, name="long-one"), request("2" * 70)]
    with pytest.raises(DataError) as caught:
        teacher(model).write(asked, keeper=keep)
    sentence = str(caught.value)
    assert "example long-one " in sentence
    assert "the context of 64 of teacher.name=tiny (2 of 6 do)" in sentence
    assert "evidence.wrong=" in sentence
    assert "\n" not in sentence
    assert not keep.store.path.exists()


def test_a_chat_template_without_a_system_turn_is_named(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.chat_template = (
        "{% for turn in messages %}{% if turn['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ turn['content'] }}{% endfor %}"
    )
    model = build(side=Teacher, prompt=PromptStyle.chat, tokenizer=tokenizer)
    turns = (Message("system", "Be brief."), Message("user", "Why?"))
    (_,) = teacher(model).write(
        [Request(example("Why?"), turns[1:])], keeper=keeper(tmp_path / "k")
    )
    words = r"System role not supported\)\. Use prompt\.system=''"
    with pytest.raises(ConfigError, match=words):
        teacher(model).write([Request(example("Why?"), turns)], keeper=keeper(tmp_path / "k"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", -0.1), ("retry_temperature", 0.0), ("max_new_tokens", 0), ("batch_size", 0)],
)
def test_a_setting_that_cannot_be_is_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^writing\.{field} must .*, got {value}\.$"):
        Writing(**{field: value})
