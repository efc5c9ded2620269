"""Replies that say nothing, or stop in the middle: said aloud, not kept, asked for again."""

from json import dumps
from pathlib import Path
from typing import Any

import pytest

from distillkit.core.keeper import Keeper
from distillkit.core.store import Store
from distillkit.core.types import Message
from distillkit.endpoints.chat import ChatEndpoint
from distillkit.endpoints.replies import Reply, is_whole
from distillkit.lessons.base import Request
from distillkit.lessons.endpoint import EndpointTeacher, ServedTeacher
from distillkit.metrics.judge import Judge, JudgeEndpoint
from tests.endpoints.known_texts import known
from tests.endpoints.stand_in import Answer, completion, serving
from tests.tiny import example

KEY = "sk-cotton-umbrella-7431"
MENDED = Answer(completion("7 4"))


def saying(message: dict[str, Any], ended: str = "stop") -> Answer:
    body = completion("")
    body["choices"][0] |= {"message": {"role": "assistant", **message}, "finish_reason": ended}
    return Answer(body)


HOLLOW = {
    "null": saying({"content": None}),
    "empty": saying({"content": ""}),
    "blank": saying({"content": " \n"}),
    "missing": saying({}),
    "filtered": saying({"content": None}, "content_filter"),
    "only reasoning": saying({"content": None, "reasoning_content": "7 4, I think."}),
    "cut while thinking": saying({"content": "<think>\nAnswer 1 is"}, "length"),
    "cut without a verdict": saying({"content": "Both answers are"}, "length"),
    "nothing after a thought": saying({"content": "<think>7 4</think>\n"}),
    "a thought that does not end": saying({"content": "<think>7 4"}),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "replies.sqlite")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def judge(url: str, **fields: object) -> Judge:
    return Judge(endpoint=JudgeEndpoint(url=url, model="judge", patience_seconds=0, **fields))


def judged(asked: Judge, store: Store) -> tuple[float, list[str]]:
    """The unparsable share of ten replies, and the warnings."""
    evidence = known(list("abcde"), ["r"] * 5, store)
    lines: list[str] = []
    evidence.say = lines.append
    records = list(asked.measure(evidence).records.values())
    warnings = [line for line in lines if line.startswith("warning: ")]
    return asked.compute(records)["judge_unparsable"], warnings


@pytest.mark.parametrize("name", HOLLOW)
def test_a_judge_that_says_nothing_is_warned_of_and_a_mended_one_is_heard(
    name: str, store: Store
) -> None:
    with serving(lambda *_: HOLLOW[name]) as (url, _):
        share, (warning,) = judged(judge(url), store)
    assert share == 1
    assert "10 of 10 replies of metric.judge.endpoint.model=judge hold no two scores" in warning
    assert HOLLOW[name].body["choices"][0]["finish_reason"] in warning
    with serving(lambda *_: MENDED) as (url, requests):
        assert judged(judge(url), store) == (0, [])
        assert len(requests) == 10
        assert judged(judge(url), store) == (0, [])
        assert len(requests) == 10


def test_empty_replies_that_an_older_version_kept_are_asked_for_again(store: Store) -> None:
    question = [Message("user", "question")]
    endpoint = ChatEndpoint(url="http://host", model="judge")
    empty = {"text": "", "prompt_tokens": 1, "completion_tokens": 0, "finish_reason": "stop"}
    store.put({endpoint.key(question): dumps(empty).encode()})
    with serving(lambda *_: MENDED) as (url, requests):
        for reused in (False, True):
            asked = ChatEndpoint(url=url, model="judge")
            (reply,) = asked.ask([question], store=store)
            assert (reply.text, reply.reused) == ("7 4", reused)
        assert len(requests) == 1


@pytest.mark.parametrize(("bad", "warned"), [(2, False), (3, True)])
def test_more_than_a_fifth_without_scores_is_a_warning_that_shows_the_first(
    bad: int, warned: bool, store: Store
) -> None:
    def behave(number: int, _: object) -> Answer:
        return Answer(completion(f"I like {KEY} best")) if number < bad else MENDED

    with serving(behave) as (url, _):
        share, warnings = judged(judge(url, concurrency=1), store)
    assert share == bad / 10
    assert len(warnings) == warned
    assert not warned or "the first is 'I like ... best', finish_reason=stop" in warnings[0]
    assert KEY not in "".join(warnings)


def test_a_verdict_whose_reasons_were_cut_is_kept(store: Store) -> None:
    with serving(lambda *_: saying({"content": "7 4\nBecause"}, "length")) as (url, requests):
        assert judged(judge(url), store) == (0, [])
        assert judged(judge(url), store) == (0, [])
        assert len(requests) == 10


@pytest.mark.parametrize("name", HOLLOW)
def test_a_served_teacher_that_writes_nothing_is_warned_of_and_asked_again(
    name: str, store: Store
) -> None:
    said: list[str] = []
    keeper = Keeper(
        store, batch_size=2, poll=lambda: None, progress=lambda *_: None, say=said.append
    )
    asked = [Request(example("q"), (Message("user", "explain q"),))]
    with serving(lambda *_: HOLLOW[name]) as (url, requests):
        teacher = ServedTeacher(EndpointTeacher(url=url, model="big"))
        assert not is_whole(teacher.write(asked, keeper=keeper)[0])
        assert not is_whole(teacher.write(asked, keeper=keeper)[0])
        assert len(requests) == 2
    assert "1 of 1 replies of teacher.model=big are empty or cut" in said[-1]
    with serving(lambda *_: MENDED) as (url, _):
        teacher = ServedTeacher(EndpointTeacher(url=url, model="big"))
        assert teacher.write(asked, keeper=keeper) == [Reply("7 4", 3, 2, "stop")]
        assert teacher.write(asked, keeper=keeper)[0].reused
