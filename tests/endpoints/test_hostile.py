"""A server may answer for ever, slowly, packed or torn: one sentence, in time, in little memory."""

import gzip
import json
import resource
import socket
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from distillkit.core.errors import EndpointError
from distillkit.core.store import Store
from distillkit.core.types import Message
from distillkit.endpoints.chat import ChatEndpoint
from tests.endpoints.stand_in import Answer, completion, serving, speaking

KEY = "sk-cotton-umbrella-7431"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
QUESTION = [[Message("user", "question")]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "replies.sqlite")


def endpoint(url: str, **fields: object) -> ChatEndpoint:
    settings = {"timeout": 1.0, "patience_seconds": 0.5, "key_variable": "MY_KEY"}
    return ChatEndpoint(url=url, model="judge", **{**settings, **fields})


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)


def for_ever(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"\r\n")
    while True:
        connection.sendall(b" " * 2**20)


def chunked_for_ever(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"100000\r\n" + b"x" * 2**20 + b"\r\n")


def refusal_for_ever(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        connection.sendall(b"no " * 2**18)


def drop_by_drop(connection: socket.socket) -> None:
    body = json.dumps(completion("7 4")).encode()
    connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode())
    for byte in body:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def head_drop_by_drop(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.1)


def endless_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-Filler: " + b"x" * 2**16 + b"\r\n")


def torn(connection: socket.socket) -> None:
    connection.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{"choices": [')


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def round_and_round(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v1/chat/completions\r\n"
        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    )


def no_http(connection: socket.socket) -> None:
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x16 no HTTP at all\r\n\r\n")


SPEECHES = {
    for_ever: "a body of more than 8 MB",
    chunked_for_ever: "a body of more than 8 MB",
    refusal_for_ever: "a body of more than 8 MB",
    drop_by_drop: "no whole reply within 1 s",
    head_drop_by_drop: "gave no reply for 0.5 s",
    endless_head: "gave no reply for 0.5 s",
    torn: "gave no reply for 0.5 s",
    reset: "gave no reply for 0.5 s",
    round_and_round: "gave no reply for 0.5 s",
    no_http: "gave no reply for 0.5 s",
}


@pytest.mark.parametrize("say", SPEECHES, ids=lambda say: say.__name__)
def test_a_server_without_end_or_manners_costs_one_sentence_and_little_time_and_memory(
    say: Callable[[socket.socket], None], store: Store
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with speaking(say) as url, pytest.raises(EndpointError) as caught:
        endpoint(url).ask(QUESTION, store=store)
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    message = str(caught.value)
    assert SPEECHES[say] in message
    assert "\n" not in message
    assert KEY not in "".join(traceback.format_exception(caught.value))


def packed(body: bytes, encoding: str) -> Answer:
    return Answer(body, headers={"Content-Encoding": encoding})


def bomb() -> bytes:
    """256 MB in 256 kB, made without holding them."""
    pack = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join(pack.compress(b" " * 2**20) for _ in range(256)) + pack.flush()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (packed(bomb(), "gzip"), "a body of more than 8 MB"),
        (packed(gzip.compress(bomb()), "gzip, gzip"), "a body packed as 'gzip, gzip'"),
        (packed(b"x", "br"), "a body packed as 'br'"),
        (packed(b"no gzip", "gzip"), "a damaged body"),
        (Answer(b"[" * 10**6), "127.0.0.1"),
        (Answer(b'{"choices": ' + b"9" * 10**5 + b"}"), "127.0.0.1"),
        (Answer({"choices": {"0": completion("7 4")["choices"][0]}}), "without a completion"),
        (Answer({"choices": [None]}), "without a completion"),
        (Answer({"choices": [{"message": "7 4", "finish_reason": "stop"}]}), "127.0.0.1"),
        (Answer("7 4"), "127.0.0.1"),
        (Answer(None), "127.0.0.1"),
    ],
    ids=range(11),
)
def test_a_body_that_is_a_bomb_or_no_completion_costs_one_sentence(
    answer: Answer, words: str, store: Store
) -> None:
    with serving(lambda *_: answer) as (url, _), pytest.raises(EndpointError) as caught:
        endpoint(url, patience_seconds=0.0).ask(QUESTION, store=store)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reply_that_was_packed_is_read(store: Store) -> None:
    body = gzip.compress(json.dumps(completion("7 4")).encode())
    with serving(lambda *_: packed(body, "gzip")) as (url, _):
        (reply,) = endpoint(url).ask(QUESTION, store=store)
    assert reply.text == "7 4"


def test_what_is_no_count_or_reason_or_text_in_utf_8_is_left_out(store: Store) -> None:
    body = completion("7 4 \ud800")
    body["usage"] = {"prompt_tokens": "3", "completion_tokens": 1e300}
    body["choices"][0]["finish_reason"] = ["stop"]
    with serving(lambda *_: Answer(body)) as (url, _):
        (reply,) = endpoint(url).ask(QUESTION, store=store)
    assert (reply.text, reply.prompt_tokens) == ("7 4 ?", None)
    assert (reply.completion_tokens, reply.finish_reason) == (None, None)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-5", "soon", "1e99"])
def test_a_server_cannot_make_itself_waited_for_beyond_patience(seconds: str, store: Store) -> None:
    answer = Answer({}, 429, headers={"Retry-After": seconds})
    began = time.monotonic()
    with serving(lambda *_: answer) as (url, _), pytest.raises(EndpointError):
        endpoint(url).ask(QUESTION, store=store)
    assert time.monotonic() - began < 5
