"""A server that answers as vLLM 0.32 does, from a tiny model, and misbehaves as told.

The form of each reply is that of recorded ones (``recorded.json``); a test compares the two.
"""

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillkit.models.loading import EMBEDDED

NAME = "embedded-teacher"


class Refusal(Exception):  # noqa: N818 (a status)
    """Another status than 200, in vLLM's words."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        error = {"message": message, "type": kind, "param": None, "code": status}
        self.status, self.body = status, {"error": error}


@dataclass
class Stub:
    """What is served, what goes wrong, and what was asked."""

    folder: Path = EMBEDDED / "teacher"
    port: int = 0
    max_logprobs: int = 128
    version: str | None = "0.32.0"
    scale_out: bool = False
    v2: bool = False
    fault: str = ""
    """What goes wrong from now on."""
    swapped_at: int | None = None
    """Scored requests after which one fails, and another model is there."""
    scored: list[tuple[int, ...]] = field(default_factory=list)
    """Ids of every request that was scored, less the probe's."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Requests for text."""
    paths: list[str] = field(default_factory=list)
    reloads: list[str] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.load(self.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def load(self, folder: Path) -> None:
        self.module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @property
    def positions(self) -> int:
        """Tokens that were scored and paid for."""
        return sum(map(len, self.scored))

    def logits(self, ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return self.module(torch.tensor([ids])).logits[0]

    def get(self, path: str) -> Any:
        if path == "/version" and self.version is not None:
            return {"version": self.version}
        if path == "/v1/models":
            card = {"id": NAME, "object": "model", "root": str(self.folder), "max_model_len": 512}
            return {"object": "list", "data": [card]}
        raise Refusal(404, "Not Found", "NotFoundError")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        if path == "/collective_rpc":
            return self.reload(body["kwargs"]["weights_path"])
        if path == "/reset_prefix_cache":
            return {"success": self.fault != "full cache"}
        if body.get("model") != NAME:
            message = f"The model `{body.get('model')}` does not exist. Valid aliases: {NAME}."
            raise Refusal(404, message, "NotFoundError")
        if path == "/tokenize":
            return self.tokenize(body)
        if path == "/inference/v1/generate":
            return self.own(body)
        assert path == "/v1/completions", path
        return self.complete(body)

    def reload(self, folder: str) -> Any:
        self.reloads.append(folder)
        if self.fault == "no dev mode":
            raise Refusal(404, "Not Found", "NotFoundError")
        if self.fault == "other shape":
            said = "Call to collective_rpc method failed: Worker failed with error ''"
            raise Refusal(500, said, "InternalServerError")
        if self.fault != "stale weights":
            head = self.module.lm_head.weight.detach().clone()
            self.load(Path(folder))
            if self.fault == "stale head":
                self.module.lm_head.weight = torch.nn.Parameter(head)
        return {"results": [None]}

    def tokenize(self, body: dict[str, Any]) -> Any:
        if "prompt" in body:
            tokens = self.tokenizer.encode(body["prompt"], add_special_tokens=False)
            tokens = tokens[1:] if self.fault == "other tokenizer" else tokens
        else:
            variables = body.get("chat_template_kwargs", {})
            text = self.tokenizer.apply_chat_template(
                body["messages"], tokenize=False, add_generation_prompt=True, **variables
            )
            text = f"<sys>{text}" if self.fault == "other template" else text
            tokens = self.tokenizer.encode(text, add_special_tokens=False)
        return {"count": len(tokens), "max_model_len": 512, "tokens": tokens, "token_strs": None}

    def note(self, ids: list[int], own: bool = False) -> None:
        if self.swapped_at is not None and len(self.scored) >= self.swapped_at:
            self.swapped_at = None
            self.load(EMBEDDED / "student")
            raise Refusal(503, "overloaded", "ServiceUnavailableError")
        if self.fault.isdecimal():
            raise Refusal(int(self.fault), "trouble", "InternalServerError")
        if len(ids) != 17 or own:
            self.scored.append(tuple(ids))

    def complete(self, body: dict[str, Any]) -> Any:
        ids, k = body["prompt"], body.get("prompt_logprobs")
        choice = {"index": 0, "text": "", "logprobs": None, "stop_reason": None}
        choice |= {"prompt_token_ids": ids, "prompt_logprobs": None, "routed_experts": None}
        if k is not None:
            if k > self.max_logprobs:
                said = f"Requested prompt logprobs of {k}, which is greater than max allowed: "
                raise Refusal(400, f"{said}{self.max_logprobs} (parameter=prompt_logprobs)")
            self.note(ids)
            table = self.logits(ids).log_softmax(-1)
            choice["prompt_logprobs"] = (
                None if self.fault == "ignores" else self.told(ids, k, table)
            )
            written, why = [int(table[-1].argmax())], "length"
        else:
            self.note(ids, own=True)
            self.bodies.append(body)
            written, why = self.write(body)
            if self.fault == "strange end":
                written, why = [5, 6], "stop"
        choice |= {"token_ids": written, "finish_reason": why}
        if self.fault == "wrong ids":
            choice["prompt_token_ids"] = [*ids[:-1], ids[-1] + 1]
        if self.fault == "no ids":
            del choice["prompt_token_ids"]
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return {"object": "text_completion", "model": NAME, "choices": [choice], "usage": usage}

    def told(self, ids: list[int], k: int, table: torch.Tensor) -> list[Any]:
        rows: list[Any] = [None]
        for place, token in enumerate(ids[1:]):
            row = table[place]
            best = row.topk(k)
            ranked = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            rank = int((row >= row[token]).sum())
            entries = {token: (float(row[token]), rank)}
            entries |= {each: (value, n + 1) for n, (each, value) in enumerate(ranked)}
            rows.append(
                {
                    str(each): {"logprob": value, "rank": n, "decoded_token": self.word(each)}
                    for each, (value, n) in entries.items()
                }
            )
        last = rows[-1]
        match self.fault:
            case "nan":
                last[str(ids[-1])]["logprob"] = float("nan")
            case "missing entry":
                del last[next(key for key, value in last.items() if value["rank"] == 1)]
            case "no drawn":
                del last[str(ids[-1])]
            case "short":
                rows.pop()
            case "shifted":
                rows = [*rows[1:], rows[-1]]
            case "not normalised":
                for entry in last.values():
                    entry["logprob"] += 9
            case "unreal id":
                key = next(key for key in last if key != str(ids[-1]))
                last["100000"] = last.pop(key)
        return rows

    def word(self, token: int) -> str:
        return str(self.tokenizer.decode([token]))

    def write(self, body: dict[str, Any]) -> tuple[list[int], str]:
        ids, written = list(body["prompt"]), []
        generator = torch.Generator().manual_seed(body["seed"] % 2**62)
        for _ in range(body["max_tokens"]):
            last = self.logits(ids + written)[-1]
            if body["temperature"] == 0:
                token = int(last.argmax())
            else:
                shares = (last / body["temperature"]).softmax(-1)
                token = int(torch.multinomial(shares, 1, generator=generator))
            written.append(token)
            if token in body["stop_token_ids"]:
                return written, "stop"
        return written, "length"

    def own(self, body: dict[str, Any]) -> Any:
        if not self.scale_out:
            message = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out"
            raise Refusal(403, f"{message} to enable them.", "PermissionDeniedError")
        if not self.v2:
            message = "prompt_logprob_token_ids requires the V2 model runner "
            raise Refusal(400, f"{message}(VLLM_USE_V2_MODEL_RUNNER=1).")
        ids, sampling = body["token_ids"], body["sampling_params"]
        wanted, start = sampling["prompt_logprob_token_ids"], sampling["prompt_logprob_start"]
        self.note(ids)
        assert len(wanted) == len(ids) - 1 - start
        table = self.logits(ids).log_softmax(-1)[start:-1].gather(-1, torch.tensor(wanted))
        held = io.BytesIO()
        np.save(held, table.numpy(), allow_pickle=False)
        packed = base64.b64encode(held.getvalue()).decode()
        return {"prompt_token_id_logprobs": packed, "prompt_token_ids": ids, "choices": []}

    @contextmanager
    def serving(self) -> Iterator["Stub"]:
        """Answer inside; at the same address again when that is entered again."""
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer(lambda: stub.get(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(lambda: stub.post(self.path.partition("?")[0], body))

            def answer(self, make: Any) -> None:
                with stub.lock:
                    stub.paths.append(self.path)
                    stub.keys.add(self.headers["Authorization"])
                    try:
                        status, body = 200, make()
                    except Refusal as refusal:
                        status, body = refusal.status, refusal.body
                data = json.dumps(body).encode()
                if stub.fault == "huge":
                    data = b'{"a": "' + b"x" * (8 << 20) + b'"}'
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    step = 8 if stub.fault == "slow bytes" else len(data)
                    for start in range(0, len(data), step):
                        self.wfile.write(data[start : start + step])
                        time.sleep(0.05 if stub.fault == "slow bytes" else 0)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Silent."""

        ThreadingHTTPServer.allow_reuse_address = True
        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads, self.port = True, server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.socket.close()
            thread.join()
