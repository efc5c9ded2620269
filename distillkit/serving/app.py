"""The HTTP endpoint: OpenAI's completions and chat, health, and figures."""

import asyncio
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from distillkit.core.errors import DistillkitError
from distillkit.core.types import Example
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.online.serving import Served
from distillkit.serving.answers import Shown
from distillkit.serving.figures import Figures
from distillkit.serving.protocol import Asked, ChatAsked, CompletionAsked, error
from distillkit.serving.settings import LimitSettings
from distillkit.serving.texts import Text
from distillkit.serving.worker import BusyError, Job, Worker

Body = TypeVar("Body", bound=Asked)
FAILED = "The request was not answered; the server's log says why."
log = logging.getLogger("distillkit.serving")
KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
"""OpenAI's names of errors by status code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """What an app serves."""

    target: LanguageModel
    draft: LanguageModel
    name: str
    """Of the model, as clients name it."""
    sampling: Sampling
    """Where a request says nothing."""
    limits: LimitSettings
    figures: Figures
    worker: Worker
    key: str
    """That clients must send; "" for none."""


def app_of(endpoint: Endpoint) -> FastAPI:
    """The application, whose worker runs while it does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        endpoint.worker.start()
        yield
        await asyncio.to_thread(endpoint.worker.close)

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.exception_handler(HTTPException)
    async def refuse(_: Request, refused: HTTPException) -> JSONResponse:
        return _refusal(refused.status_code, str(refused.detail), refused.headers)

    @app.middleware("http")
    async def count(request: Request, call: Callable[[Request], Any]) -> Response:
        try:
            response: Response = await call(request)
        except Exception:
            log.exception("a request ended in an error")
            response = _refusal(500, "The server failed; its log says why.")
        if request.url.path.startswith("/v1/"):
            endpoint.figures.responses.labels(str(response.status_code)).inc()
        return response

    _let_watch(app, endpoint)

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        _check_key(endpoint, request)
        model = {"id": endpoint.name, "object": "model", "created": 0, "owned_by": "distillkit"}
        return {"object": "list", "data": [model]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        asked = await _read(endpoint, request, ChatAsked)
        prompt = tuple(turn.message() for turn in asked.messages)
        return await _answer(endpoint, asked, Example("request", prompt, ""), chat=True)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        asked = await _read(endpoint, request, CompletionAsked)
        example = Example("request", (), "", opening=asked.prompt)
        return await _answer(endpoint, asked, example, chat=False)

    return app


def _let_watch(app: FastAPI, endpoint: Endpoint) -> None:
    """Health and figures, for whoever can reach the server."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        if not endpoint.worker.is_alive():
            raise HTTPException(503, "The worker has ended. Start the server again.")
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(endpoint.figures.registry), media_type=CONTENT_TYPE_LATEST)


def _refusal(status: int, message: str, headers: Any = None) -> JSONResponse:
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return JSONResponse(error(message, kind=kind), status, headers=headers)


def _check_key(endpoint: Endpoint, request: Request) -> None:
    if not endpoint.key:
        return
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not hmac.compare_digest(given.encode(), endpoint.key.encode()):
        said = "No API key, or a wrong one. Send it as in Authorization: Bearer <key>."
        raise HTTPException(401, said, headers={"WWW-Authenticate": "Bearer"})


async def _read(endpoint: Endpoint, request: Request, kind: type[Body]) -> Body:
    """The body of a request, no longer and no slower than it may be."""
    _check_key(endpoint, request)
    limits, body = endpoint.limits, bytearray()
    too_long = HTTPException(
        413, f"The body is longer than {limits.body_kb} kB, which this server takes."
    )
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body_kb * 1024:
                    raise too_long
    except TimeoutError:
        said = f"The body did not arrive within {limits.body_seconds:g} seconds."
        raise HTTPException(408, said, headers={"Connection": "close"}) from None
    try:
        asked = kind.model_validate_json(bytes(body))
    except ValidationError as refused:
        raise HTTPException(400, _first(refused)) from None
    if asked.model != endpoint.name:
        raise HTTPException(
            404, f"The model {asked.model[:80]!r} is not served here. Ask for {endpoint.name!r}."
        )
    if (name := asked.unread()) is not None:
        raise HTTPException(400, f"{name} is not supported here. Leave it out.")
    return asked


def _first(refused: ValidationError) -> str:
    """The first thing that is wrong with a body, as one sentence."""
    found = refused.errors()[0]
    where = ".".join(map(str, found["loc"]))
    return f"{where}: {found['msg']}." if where else f"The body cannot be read: {found['msg']}."


async def _answer(endpoint: Endpoint, asked: Asked, example: Example, *, chat: bool) -> Response:
    loop, heard = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def told(item: Any) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, item)

    sampling, read = _sampling(endpoint, asked, example)
    seed = secrets.randbits(62) if asked.seed is None else asked.seed % (1 << 62)
    job = Job(example, sampling, seed, hear=told if asked.stream else _unheard, done=told)
    try:
        endpoint.worker.submit(job)
    except BusyError:
        waiting = endpoint.limits.waiting
        said = f"{waiting} requests wait already, or the server is going down. Come back later."
        raise HTTPException(503, said, headers={"Retry-After": "1"}) from None
    text = Text(endpoint.target.tokenizer, asked.stops)
    shown = Shown(asked, text, name=endpoint.name, read=read, chat=chat)
    pieces = _pieces(job, heard)
    if asked.stream:
        return StreamingResponse(shown.events(pieces), media_type="text/event-stream")
    return JSONResponse(await shown.whole(pieces))


def _unheard(_: Sequence[int]) -> None:
    """Who waits for the whole is told of no piece."""


def _sampling(endpoint: Endpoint, asked: Asked, example: Example) -> tuple[Sampling, int]:
    """How a request is answered, and tokens of its prompt."""
    usual, longest = endpoint.sampling, asked.longest
    limit = endpoint.limits.new_tokens
    if longest is not None and longest > limit:
        raise HTTPException(400, f"max_tokens={longest} is more than {limit}, the most here.")
    try:
        for model in (endpoint.draft, endpoint.target):
            read = model.prompt_length(example)
            if read >= model.context:
                said = f"The prompt has {read} tokens, and {model.context} are read here."
                raise HTTPException(400, said)
    except DistillkitError as refused:
        raise HTTPException(400, f"The prompt cannot be read: {refused}") from None
    return (
        Sampling(
            temperature=usual.temperature if asked.temperature is None else asked.temperature,
            top_k=usual.top_k,
            top_p=usual.top_p if asked.top_p is None else asked.top_p,
            min_p=usual.min_p,
            max_new_tokens=longest or min(usual.max_new_tokens, limit),
            batch_size=endpoint.limits.together,
        ),
        read,
    )


async def _pieces(job: Job, heard: "asyncio.Queue[Any]") -> AsyncIterator[Sequence[int] | Served]:
    """Tokens as they are had, and the answer at last."""
    try:
        while True:
            item = await heard.get()
            if isinstance(item, Exception):
                raise HTTPException(500, FAILED)
            yield item
            if isinstance(item, Served):
                return
    finally:
        job.given_up = True
