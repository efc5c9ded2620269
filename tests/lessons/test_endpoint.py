"""A served teacher: how each attempt is asked, what is kept and counted, and one real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from distillkit.core.errors import ConfigError, EndpointError
from distillkit.core.keeper import Keeper
from distillkit.core.store import Store
from distillkit.core.types import Message
from distillkit.lessons.base import Request
from distillkit.lessons.endpoint import EndpointTeacher, ServedTeacher
from tests.endpoints import stand_in
from tests.endpoints.served import VERDICTS, Served, save_judge
from tests.endpoints.stand_in import Answer, completion, serving
from tests.tiny import example


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def told() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture
def keeper(tmp_path: Path, told: list[tuple[str, int, int]]) -> Keeper:
    return Keeper(
        Store(tmp_path / "kept"),
        batch_size=2,
        poll=lambda: None,
        progress=lambda *numbers: told.append(numbers),
        say=lambda _: None,
    )


def endpoint(url: str, **fields: object) -> EndpointTeacher:
    return EndpointTeacher(**{"url": url, "model": "big", "patience_seconds": 20, **fields})


def requests(count: int, attempt: int = 0) -> list[Request]:
    return [
        Request(example(f"q{n}"), (Message("user", f"explain q{n}"),), attempt=attempt)
        for n in range(count)
    ]


def echo(_: int, request: stand_in.Request) -> Answer:
    """Says how it was asked."""
    body = request.body
    turn = body["messages"][-1]["content"]
    return Answer(completion(f"{turn} at {body.get('temperature')} by {body.get('seed')}"))


def test_the_first_attempt_is_asked_as_configured_and_each_later_one_otherwise(
    keeper: Keeper,
) -> None:
    mixed = [requests(1, attempt)[0] for attempt in (2, 0, 1)]
    with serving(echo) as (url, seen):
        replies = ServedTeacher(endpoint(url, seed=5, max_tokens=99)).write(mixed, keeper=keeper)
    assert [reply.text for reply in replies] == [
        "explain q0 at 0.7 by 7",
        "explain q0 at 0.0 by 5",
        "explain q0 at 0.7 by 6",
    ]
    assert [request.body["max_tokens"] for request in seen] == [99] * 3
    assert [request.body["model"] for request in seen] == ["big"] * 3
    assert (replies[0].prompt_tokens, replies[0].completion_tokens) == (3, 2)


def test_attempts_are_kept_apart_where_the_server_is_told_nothing_of_them(keeper: Keeper) -> None:
    settings = {"seed": None, "temperature": None, "retry_temperature": None}
    with serving(lambda number, _: Answer(completion(f"text {number}"))) as (url, seen):
        teacher = ServedTeacher(endpoint(url, **settings))
        found = [teacher.write(requests(1, attempt), keeper=keeper)[0] for attempt in (0, 1, 2)]
        again = [teacher.write(requests(1, attempt), keeper=keeper)[0] for attempt in (0, 1, 2)]
    assert [reply.text for reply in found] == ["text 0", "text 1", "text 2"]
    assert [reply.text for reply in again] == ["text 0", "text 1", "text 2"]
    assert all(set(request.body) == {"model", "messages", "max_tokens"} for request in seen)


def test_the_keeper_counts_what_was_asked_and_what_was_there(
    keeper: Keeper, told: list[tuple[str, int, int]]
) -> None:
    with serving(echo) as (url, seen):
        teacher = ServedTeacher(endpoint(url))
        teacher.write(requests(3), keeper=keeper)
        assert told == [("lessons", n, 3) for n in (1, 2, 3)]
        # Two of them twice, and half of them known.
        both = [*requests(5), *requests(2), *requests(2, 1)]
        replies = teacher.write(both, keeper=keeper)
        assert len(seen) == 3 + 2 + 2
    assert keeper.made["lessons"] == 7
    assert keeper.reused["lessons"] == 3
    assert told[3:] == [("lessons", n, 2) for n in (1, 2, 1, 2)]
    reused = [True] * 3 + [False] * 2 + [True] * 2 + [False] * 2
    assert [reply.reused for reply in replies] == reused


def test_replies_that_came_before_a_failure_are_counted_and_not_asked_again(
    keeper: Keeper,
) -> None:
    def fail_late(number: int, request: stand_in.Request) -> Answer:
        return echo(number, request) if number < 2 else Answer({"error": {"message": "no"}}, 404)

    with serving(fail_late) as (url, _):
        with pytest.raises(EndpointError, match=r"2 of 5 replies are kept.*") as caught:
            ServedTeacher(endpoint(url, concurrency=1)).write(requests(5), keeper=keeper)
        assert "Check teacher.model, and teacher.url" in str(caught.value)
    assert keeper.made["lessons"] == 2
    with serving(echo) as (url, seen):
        ServedTeacher(endpoint(url)).write(requests(5), keeper=keeper)
        assert len(seen) == 3
    assert (keeper.made["lessons"], keeper.reused["lessons"]) == (5, 2)


def test_a_cost_is_that_of_both_kinds_of_tokens() -> None:
    priced = endpoint("http://host", input_price=2.0, output_price=10.0)
    assert priced.cost(500_000, 30_000) == pytest.approx(1.3)
    assert endpoint("http://host").cost(500_000, 30_000) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "localhost:8000"),
        ("max_tokens", 0),
        ("retry_temperature", 0.0),
        ("input_price", -1.0),
        ("output_price", -1.0),
    ],
)
def test_a_setting_that_cannot_be_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^teacher\.{field} must .*, got {value}\.$"):
        endpoint(**{"url": "http://host/v1", field: value})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    server = Served(save_judge(folder / "model"), folder / "log.txt")
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def test_a_real_server_writes_each_lesson_once(served: Served, keeper: Keeper) -> None:
    words = list(VERDICTS)
    asked = [
        Request(example(f"q{n}"), (Message("user", f"q{n} {words[n % 3]}"),), attempt=n % 2)
        for n in range(12)
    ]
    teacher = ServedTeacher(EndpointTeacher(url=served.url, model=str(served.model)))
    replies = teacher.write(asked, keeper=keeper)
    assert [reply.text for reply in replies[::2]] == [VERDICTS[words[n % 3]] for n in (0, 2, 4)] * 2
    assert [reply.finish_reason for reply in replies[::2]] == ["stop"] * 6
    assert teacher.name == str(served.model)
    assert served.answered() == 12

    served.kill()
    again = teacher.write(asked, keeper=keeper)
    assert [reply.text for reply in again] == [reply.text for reply in replies]
    assert (keeper.made["lessons"], keeper.reused["lessons"]) == (12, 12)
