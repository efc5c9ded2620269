"""``distillkit serve`` through real clients: answers, refusals, updates, and how it ends."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from distillkit.core.types import Message, Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.models.generation import generate
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling
from distillkit.serving.texts import Text
from tests.tiny import CPU

from .conftest import CommandLine, Start
from .forking import Started

KEY = "a-key-of-this-test"
SMALL = (
    "name=service",
    "optimizer.lr=1e-3",
    "limits.body_kb=16",
    "limits.body_seconds=1",
    "limits.new_tokens=64",
)
MODEL = "embedded:teacher"
QUESTIONS = [
    example.prompt[-1].content for example in Arithmetic(test=24).examples(Split.test)[:24]
]


class Service:
    """A server in a process of its own, and where it is."""

    def __init__(self, start: Start, folder: Path, *more: str, key: str = KEY) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.folder, self.key = f"http://127.0.0.1:{self.port}", folder, key
        self.process: Started = start(
            "serve",
            *SMALL,
            *more,
            f"port={self.port}",
            folder=folder,
            environment={"DISTILLKIT_API_KEY": key},
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(f"{self.url}/health").json() == {"status": "ok"}
                return
            except httpx.TransportError:
                assert self.process.poll() is None, self.process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    def told(self, question: str, **settings: Any) -> ChatCompletion:
        settings = {"temperature": 0, "max_tokens": 40, **settings}
        return self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": question}], **settings
        )

    def ask(self, question: str, **settings: Any) -> str:
        return self.told(question, **settings).choices[0].message.content or ""

    def post(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.key}", **headers}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{self.url}{path}", content=content, headers=sent, timeout=30)

    def figure(self, name: str) -> float:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        (found,) = (line.split()[-1] for line in lines if line.startswith(f"distillkit_{name} "))
        return float(found)


@pytest.fixture(scope="module")
def service(started: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that is asked by all tests that do it no harm."""
    found = Service(started, tmp_path_factory.mktemp("service"))
    yield found
    found.process.send_signal(signal.SIGTERM)
    assert found.process.wait() == 0


@pytest.fixture(scope="module")
def greedy() -> dict[str, str]:
    """What the target alone answers."""
    target = load(Teacher(name=MODEL, prompt=PromptStyle.plain), device=CPU, precision="fp32")
    prompts = [target.prompts._rendered((Message("user", each),), "") for each in QUESTIONS]
    sampling = Sampling(temperature=0, max_new_tokens=40)
    texts = generate(target, prompts, sampling, seed=0)
    return {
        question: target.tokenizer.decode(text.tokens, skip_special_tokens=True)
        for question, text in zip(QUESTIONS, texts, strict=True)
    }


def test_many_clients_get_the_targets_answers_while_the_draft_learns(
    service: Service, greedy: dict[str, str]
) -> None:
    before = service.figure("updates_total")
    asked = QUESTIONS * 3
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(service.ask, asked))
    assert answers == [greedy[question] for question in asked]
    assert service.figure("updates_total") >= before + 4
    assert service.figure("draft_version") >= 4
    assert 0 < service.figure("alpha") <= 1
    assert service.figure("buffer_bytes") >= 0


def test_a_stream_says_what_an_answer_says_at_once(
    service: Service, greedy: dict[str, str]
) -> None:
    question, version = QUESTIONS[0], int(service.figure("draft_version"))
    chunks = list(
        service.client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=40,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == greedy[question]
    assert sum(bool(piece) for piece in pieces) > 1
    assert chunks[-2].choices[0].finish_reason == "stop"
    (told,) = {chunk.system_fingerprint for chunk in chunks[-2:]}
    assert told in {f"draft-{version}", f"draft-{version + 1}"}  # It may be learning.
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 20


def test_completions_go_on_from_a_text_and_stop_where_they_are_told_to(service: Service) -> None:
    settings = {"model": MODEL, "prompt": f"{QUESTIONS[1]}\n", "temperature": 0}
    whole = service.client.completions.create(**settings, max_tokens=40).choices[0]
    assert "####" in whole.text
    assert whole.finish_reason == "stop"
    cut = service.client.completions.create(**settings, max_tokens=40, stop=["###"])
    assert cut.choices[0].text == whole.text.split("###")[0]
    assert cut.choices[0].finish_reason == "stop"
    streamed = service.client.completions.create(**settings, max_tokens=40, stop="###", stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == cut.choices[0].text
    short = service.client.completions.create(**settings, max_tokens=3)
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 3


def test_a_seed_repeats_an_answer_that_is_drawn_while_the_draft_stays(service: Service) -> None:
    settings = {"temperature": 5.0, "max_tokens": 30}
    answers = [service.told(QUESTIONS[2], seed=1, **settings) for _ in range(16)]
    known = {(answer.system_fingerprint, answer.choices[0].message.content) for answer in answers}
    drafts = {draft for draft, _ in known}
    assert len(known) == len(drafts) in (2, 3)  # It learns after eight.
    assert len({service.ask(QUESTIONS[2], seed=seed, **settings) for seed in (2, 3, 4, 5)}) > 1
    assert len({service.ask(QUESTIONS[2], **settings) for _ in range(4)}) > 1


GOOD = {"model": MODEL, "messages": [{"role": "user", "content": "1 + 1 = ?"}], "max_tokens": 4}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "cannot be read"),
        (b"\xff\xfe", 400, "cannot be read"),
        (b"[1]", 400, "should be an object"),
        ({}, 400, "model"),
        ({**GOOD, "messages": []}, 400, "messages"),
        ({**GOOD, "messages": [{"role": "user", "content": 7}]}, 400, "messages.0.content"),
        ({**GOOD, "temperature": -1}, 400, "temperature"),
        ({**GOOD, "top_p": 0}, 400, "top_p"),
        ({**GOOD, "max_tokens": 0}, 400, "max_tokens"),
        ({**GOOD, "max_tokens": 65}, 400, "max_tokens=65 is more than 64"),
        ({**GOOD, "n": 2}, 400, "n: "),
        ({**GOOD, "frequency_penalty": 0.5}, 400, "frequency_penalty"),
        ({**GOOD, "tools": [{}]}, 400, "tools is not supported"),
        ({**GOOD, "model": "another"}, 404, "'another' is not served here"),
        ({**GOOD, "messages": [{"role": "user", "content": "a b " * 900}]}, 400, "The prompt has"),
        ({**GOOD, "messages": [{"role": "user", "content": "a" * 20000}]}, 413, "16 kB"),
    ],
)
def test_a_request_that_cannot_be_answered_gets_its_status_and_one_sentence(
    service: Service, body: Any, status: int, said: str
) -> None:
    refused = service.post(body)
    assert refused.status_code == status, refused.text
    error = refused.json()["error"]
    assert said in error["message"]
    assert len(error["message"].splitlines()) == 1
    assert service.post(GOOD).status_code == 200


def test_nobody_is_answered_without_the_key(service: Service) -> None:
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {KEY}x"}):
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models")):
            refused = httpx.request(method, f"{service.url}{path}", headers=given, json=GOOD)
            assert refused.status_code == 401
            assert "API key" in refused.json()["error"]["message"]
    assert httpx.get(f"{service.url}/nowhere").status_code == 404
    assert httpx.get(f"{service.url}/v1/chat/completions").status_code == 405


def test_a_body_that_does_not_come_is_not_waited_for(service: Service) -> None:
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Length: 100\r\n\r\n{"
    )
    with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as slow:
        slow.sendall(head.encode())
        start = time.monotonic()
        answer = slow.recv(4096).decode()
        assert "408" in answer.splitlines()[0]
        assert 0.5 < time.monotonic() - start < 20
    assert service.post(GOOD).status_code == 200


def test_a_client_that_leaves_does_no_harm(service: Service) -> None:
    for _ in range(4):
        stream = service.client.chat.completions.create(**GOOD | {"max_tokens": 64}, stream=True)
        next(iter(stream))
        stream.close()
    assert service.post(GOOD).status_code == 200


def test_more_than_may_wait_are_told_to_come_back(started: Start, tmp_path: Path) -> None:
    crowded = Service(started, tmp_path, "limits.waiting=1", "limits.together=1")
    try:
        with ThreadPoolExecutor(12) as clients:
            found = list(clients.map(lambda _: crowded.post(GOOD), range(24)))
        assert {each.status_code for each in found} == {200, 503}
        refused = next(each for each in found if each.status_code == 503)
        assert "Come back later" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "1"
    finally:
        crowded.process.kill()
        crowded.process.wait()


def test_a_server_that_is_killed_goes_on_from_its_last_version_and_one_that_is_stopped_saves(
    started: Start, tmp_path: Path
) -> None:
    first = Service(started, tmp_path)
    with ThreadPoolExecutor(8) as clients:
        work = [clients.submit(first.ask, question, temperature=1) for question in QUESTIONS * 2]
        while first.figure("draft_version") < 2:
            time.sleep(0.02)
        first.process.kill()
        for each in work:
            each.exception()
    assert first.process.wait() == -signal.SIGKILL
    again = Service(started, tmp_path)
    version = again.figure("draft_version")
    assert version >= 2
    with ThreadPoolExecutor(8) as clients:
        work = [clients.submit(again.ask, question) for question in QUESTIONS]
        wait(work, return_when=FIRST_COMPLETED)
        again.process.send_signal(signal.SIGTERM)
        answered = [each for each in work if each.exception() is None]
    assert again.process.wait() == 0
    assert answered
    out, err = again.process.communicate()
    assert f"draft of version {version:.0f}" in out
    assert "saved version" in out
    assert "Traceback" not in err


def test_a_service_that_cannot_be_is_one_sentence(
    distillkit: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISTILLKIT_API_KEY", raising=False)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for typed, said in (
            (["host=0.0.0.0"], "host=0.0.0.0 lets others in"),
            ([f"port={port}"], f"port={port} cannot be listened at"),
            (["port=70000"], "port=70000"),
            (["limits.waiting=0"], "limits.waiting must be at least 1"),
            (["buffer.keep=true"], "buffer.keep=true"),
            (["policy=off_policy"], "policy=off_policy"),
            (["objective=minillm"], "objective=minillm"),
        ):
            refused = distillkit("serve", *SMALL, *typed)
            assert refused.code == 2, refused.out
            assert said in refused.err
            assert len(refused.err.strip().splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


class Letters:
    """A tokenizer of bytes."""

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return bytes(tokens).decode(errors="replace")


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("said", "stops", "expected"),
    [
        ("plain text", [], "plain text"),
        ("café – naïve", [], "café – naïve"),
        ("one. two. three", [". t"], "one"),
        ("a === b", ["==", "==="], "a "),
        ("ends with =", ["=="], "ends with ="),
    ],
)
def test_text_that_comes_in_pieces_is_the_whole(
    said: str, stops: list[str], expected: str, size: int
) -> None:
    tokens = [*said.encode()]
    text = Text(Letters(), stops)
    pieces = [text.add(tokens[at : at + size]) for at in range(0, len(tokens), size)]
    pieces.append(text.add((), last=True))
    assert "".join(pieces) == expected == text.whole()
    assert "\ufffd" not in "".join(pieces)
