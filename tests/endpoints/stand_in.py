"""A server that misbehaves as told, in a thread of the test."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a status, a body, and how long it takes."""

    body: Any = None
    status: int = 200
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived, and when."""

    path: str
    key: str | None
    body: dict[str, Any]
    at: float


def completion(text: str, *, prompt_tokens: int = 3, completion_tokens: int = 2) -> dict[str, Any]:
    """A good answer's body."""
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "judge",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


@contextmanager
def serving(behave: Callable[[int, Request], Answer]) -> Iterator[tuple[str, list[Request]]]:
    """The url of a server that answers request n (0 first) with ``behave(n, request)``."""
    requests: list[Request] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = Request(self.path, self.headers["Authorization"], body, time.monotonic())
            with lock:
                number = len(requests)
                requests.append(request)
            answer = behave(number, request)
            time.sleep(answer.seconds)
            body = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # The client gave up.

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        # Not server_close(): it would wait for answers that are meant to be late.
        server.socket.close()
        thread.join()


@contextmanager
def speaking(say: Callable[[socket.socket], None]) -> Iterator[str]:
    """The url of a server that reads a request's head and then sends whatever it is told to."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            try:
                received = b""
                while b"\r\n\r\n" not in received:
                    part = self.request.recv(65536)
                    if not part:
                        return
                    received += part
                say(self.request)
            except OSError:
                """The client gave up."""

    class Server(ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()
