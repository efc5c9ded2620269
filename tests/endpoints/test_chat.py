"""Endpoints: what is asked and kept, and one sentence where a server misbehaves."""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from distillkit.core.errors import ConfigError, EndpointError, Interrupted
from distillkit.core.store import Store
from distillkit.core.types import Message
from distillkit.endpoints.chat import ChatEndpoint, LengthField, Reply
from tests.endpoints.stand_in import Answer, Request, completion, serving

KEY = "sk-cotton-umbrella-7431"
GOOD = Answer(completion("7 4"))


def ask(count: int = 1) -> list[list[Message]]:
    return [[Message("user", f"question {place}")] for place in range(count)]


def endpoint(url: str, **fields: object) -> ChatEndpoint:
    return ChatEndpoint(**{"url": url, "model": "judge", "patience_seconds": 20, **fields})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "replies.sqlite")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def first(*answers: Answer) -> Callable[[int, Request], Answer]:
    """These answers to the first requests, good ones after them."""
    return lambda number, _: answers[number] if number < len(answers) else GOOD


def echo(_: int, request: Request) -> Answer:
    return Answer(completion(request.body["messages"][-1]["content"].upper()))


def test_replies_come_in_the_order_of_the_questions_with_their_tokens(store: Store) -> None:
    with serving(echo) as (url, _):
        replies = endpoint(url, concurrency=3).ask(ask(7), store=store)
    assert [reply.text for reply in replies] == [f"QUESTION {place}" for place in range(7)]
    assert replies[0] == Reply("QUESTION 0", 3, 2, "stop", reused=False)


def test_a_request_says_everything_that_decides_the_reply(store: Store) -> None:
    turns = [[Message("system", "Be brief."), Message("user", "Why?")]]
    with serving(first()) as (url, requests):
        endpoint(url, temperature=0.5, seed=7, max_tokens=9).ask(turns, store=store)
        endpoint(
            url, temperature=None, seed=None, length_field=LengthField.max_completion_tokens
        ).ask(turns, store=store)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert [request.body for request in requests] == [
        {"model": "judge", "messages": messages, "temperature": 0.5, "seed": 7, "max_tokens": 9},
        {"model": "judge", "messages": messages, "max_completion_tokens": 1024},
    ]
    assert requests[0].path == "/v1/chat/completions"


def test_equal_questions_are_asked_once_and_kept_ones_never_again(store: Store) -> None:
    with serving(echo) as (url, requests):
        twice = endpoint(url).ask([*ask(2), *ask(2)], store=store)
        assert len(requests) == 2
    assert [reply.text for reply in twice] == ["QUESTION 0", "QUESTION 1"] * 2
    # Another address, where nobody listens.
    again = endpoint("http://127.0.0.1:9/v1", patience_seconds=0).ask(ask(2), store=store)
    assert again == [Reply(f"QUESTION {place}", 3, 2, "stop", reused=True) for place in range(2)]


@pytest.mark.parametrize(
    "changed", [{"model": "other"}, {"temperature": 1.0}, {"seed": 1}, {"max_tokens": 5}]
)
def test_another_setting_is_another_question(changed: dict[str, object], store: Store) -> None:
    with serving(first()) as (url, requests):
        endpoint(url).ask(ask(), store=store)
        endpoint(url, **changed).ask(ask(), store=store)
        assert len(requests) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer({"error": {"message": "max_tokens is too large"}}, 400), "max_tokens is too large"),
        (Answer({"error": {"message": "bad key"}}, 401), "OPENAI_API_KEY is not set"),
        (Answer({"error": {"message": "no"}}, 403), "OPENAI_API_KEY is not set"),
        (Answer({"error": {"message": "no such model"}}, 404), "Check endpoint.model"),
        (Answer({"error": {"message": "x", "code": "insufficient_quota"}}, 429), "Add credit"),
        (Answer(b"<html>hello</html>", content_type="text/html"), "usually ends in /v1"),
    ],
)
def test_a_refusal_ends_at_once_with_one_sentence(answer: Answer, words: str, store: Store) -> None:
    with serving(lambda *_: answer) as (url, requests):
        with pytest.raises(EndpointError) as caught:
            endpoint(url, concurrency=1).ask(ask(3), store=store)
        assert len(requests) == 1
    message = str(caught.value)
    assert words in message
    assert f"{url} refused model=judge with status {answer.status}" in message
    assert "0 of 3 replies are kept" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b'{"choices": [{"mess'),
        Answer(b'{"choices": "\xff\xfe"}'),
        Answer({"choices": []}),
        Answer({"error": {"message": "upstream is overloaded"}}),
        Answer({"choices": [{}]}),
        Answer([]),
        Answer({"choices": [{"message": {"content": {"a": 1}}, "finish_reason": "stop"}]}),
        Answer({"error": {"message": "slow down"}}, 429),
        Answer(b"Bad Gateway", 502, content_type="text/html"),
        Answer({}, 503),
        Answer(completion("late"), seconds=3),
    ],
    ids=str,
)
def test_a_passing_failure_is_asked_again_and_never_kept(answer: Answer, store: Store) -> None:
    said: list[str] = []
    with serving(first(answer)) as (url, requests):
        (reply,) = endpoint(url, timeout=1).ask(ask(), store=store, say=said.append)
        assert len(requests) == 2
    assert reply.text == "7 4"
    assert len(said) == 3
    assert "waiting for up to 20 s" in said[1]
    assert said[2] == f"{url} answers again"


def test_a_reply_without_text_or_usage_is_a_reply(store: Store) -> None:
    """A filter, or a limit reached while thinking; asking again would bring the same."""
    choice = {"index": 0, "finish_reason": "content_filter", "message": {"content": None}}
    with serving(lambda *_: Answer({"choices": [choice]})) as (url, _):
        (reply,) = endpoint(url).ask(ask(), store=store)
    assert reply == Reply("", None, None, "content_filter")


def test_when_patience_is_over_the_sentence_says_what_is_kept(store: Store) -> None:
    def fail_from_the_third(number: int, _: Request) -> Answer:
        return GOOD if number < 2 else Answer({"error": {"message": "full"}}, 503)

    with serving(fail_from_the_third) as (url, requests):
        began = time.monotonic()
        with pytest.raises(EndpointError) as caught:
            endpoint(url, patience_seconds=1.5, concurrency=1).ask(ask(5), store=store)
        assert 1.5 <= time.monotonic() - began < 5
        # The same question: at once, twice or thrice while waiting, and at the end.
        assert 4 <= len(requests) - 2 <= 6
    assert "gave no reply for 1.5 s" in str(caught.value)
    assert "2 of 5 replies are kept" in str(caught.value)
    assert str(store.path) in str(caught.value)
    with serving(first()) as (url, requests):
        replies = endpoint(url).ask(ask(5), store=store)
        assert len(requests) == 3
    assert [reply.reused for reply in replies] == [True, True, False, False, False]


def test_patience_counts_from_the_last_reply(store: Store) -> None:
    """Every other request fails: together longer than the patience, never so at a stretch."""

    def behave(number: int, _: Request) -> Answer:
        return GOOD if number % 2 else Answer({}, 503)

    with serving(behave) as (url, _):
        began = time.monotonic()
        endpoint(url, patience_seconds=0.6, concurrency=1).ask(ask(4), store=store)
        assert time.monotonic() - began > 0.6


def test_a_server_that_asks_for_time_is_given_it(store: Store) -> None:
    with serving(first(Answer({}, 429, headers={"Retry-After": "1.5"}))) as (url, requests):
        endpoint(url).ask(ask(), store=store)
    assert requests[1].at - requests[0].at >= 1.5


def test_a_limit_per_minute_spaces_requests(store: Store) -> None:
    with serving(first()) as (url, requests):
        endpoint(url, requests_per_minute=120).ask(ask(4), store=store)
    assert requests[3].at - requests[0].at > 1.2
    assert requests[1].at - requests[0].at > 0.2


def test_a_repeated_request_counts_against_the_limit(store: Store) -> None:
    with serving(first(Answer({}, 503))) as (url, requests):
        endpoint(url, requests_per_minute=40).ask(ask(), store=store)
    assert requests[1].at - requests[0].at > 1.2


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_are_under_way_than_asked_for(concurrency: int, store: Store) -> None:
    with serving(lambda *_: Answer(GOOD.body, seconds=0.5)) as (url, requests):
        endpoint(url, concurrency=concurrency).ask(ask(4), store=store)
    began = [request.at for request in requests]
    assert max(sum(0 <= b - a < 0.5 for b in began) for a in began) == concurrency


def test_progress_counts_what_is_asked_and_only_after_it_is_kept(store: Store) -> None:
    told: list[tuple[str, int, int]] = []
    kept: list[int] = []
    keys = [endpoint("http://host").key(turns) for turns in ask(5)]

    def progress(*numbers: object) -> None:
        told.append(numbers)
        kept.append(len(store.get(keys)))

    with serving(echo) as (url, _):
        endpoint(url).ask(ask(2), store=store)
        endpoint(url).ask([*ask(5), *ask(5)], store=store, progress=progress)
    assert told == [("replies", n, 3) for n in (1, 2, 3)]
    assert kept == [3, 4, 5]


def test_a_stop_cancels_what_is_under_way_and_keeps_what_arrived(store: Store) -> None:
    def behave(number: int, _: Request) -> Answer:
        return GOOD if number == 0 else Answer(GOOD.body, seconds=30)

    def stop() -> None:
        if store.path.exists():
            raise Interrupted("interrupted", signal=2)

    with serving(behave) as (url, requests):
        began = time.monotonic()
        with pytest.raises(Interrupted):
            endpoint(url).ask(ask(9), store=store, poll=stop)
        assert time.monotonic() - began < 5
        assert len(requests) < 9
    assert store.get([endpoint(url).key(turns) for turns in ask(9)])


def test_the_key_reaches_the_server_and_nothing_else(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not even where the server's own error repeats it."""
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    left: list[str] = []
    for status in (200, 400, 401, 404, 503):
        told = {"error": {"message": f"key {KEY} is wrong"}}
        body = completion("7 4") if status == 200 else told
        with serving(lambda *_, body=body, status=status: Answer(body, status)) as (url, requests):
            asked = endpoint(url, key_variable="MY_KEY", patience_seconds=0.2, seed=status)
            left.append(repr(asked))
            try:
                asked.ask(ask(), store=store, say=said.append)
            except EndpointError as error:
                left += ["".join(traceback.format_exception(error)), repr(error)]
        assert requests[0].key == f"Bearer {KEY}"
    streams = capfd.readouterr()
    left += [*said, caplog.text, streams.out, streams.err]
    assert "MY_KEY" in "".join(left)
    assert "key ... is wrong" in "".join(left)
    assert KEY not in "".join(left)
    kept = b"".join(file.read_bytes() for file in store.path.parent.iterdir())
    assert b"7 4" in kept
    assert KEY.encode() not in kept


@pytest.mark.parametrize("key", [f"{KEY}\nx", f"{KEY}é", f"{KEY} x"])
def test_a_key_that_is_none_is_refused_without_being_shown(
    key: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY holds characters") as caught:
        endpoint("http://127.0.0.1:9/v1").ask(ask(), store=store)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_missing_package_is_named_with_the_way_to_get_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'distillkit\[judge\]'"):
        endpoint("http://127.0.0.1:9/v1").ask(ask(), store=store)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "localhost:8000/v1"),
        ("url", "http://me:secret@host/v1"),
        ("url", "secret@host/v1"),
        ("temperature", -1.0),
        ("max_tokens", 0),
        ("concurrency", 0),
        ("requests_per_minute", 0.0),
        ("patience_seconds", -1.0),
        ("timeout", 0.0),
    ],
)
def test_a_setting_that_cannot_be_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"endpoint\.{field}") as caught:
        endpoint(**{"url": "http://host/v1", field: value})
    assert "secret" not in str(caught.value)
