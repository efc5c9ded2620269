"""Answers in the words of OpenAI's API, at once or piece by piece."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from distillkit.online.serving import Served
from distillkit.serving.protocol import Asked, error, identity, usage
from distillkit.serving.texts import Text


class Shown:
    """An answer in the words of OpenAI's API.

    Args:
        asked: the request.
        text: of the answer, empty yet.
        name: of the model.
        read: tokens of the prompt.
        chat: whether it is a message, and no bare text.
    """

    def __init__(self, asked: Asked, text: Text, *, name: str, read: int, chat: bool) -> None:
        self._asked, self._text, self._read, self._chat = asked, text, read, chat
        self._head = {
            **identity("chatcmpl" if chat else "cmpl"),
            "model": name,
            "object": "chat.completion" if chat else "text_completion",
        }

    async def whole(self, pieces: AsyncIterator[Sequence[int] | Served]) -> dict[str, Any]:
        """The answer at once."""
        (served,) = [piece async for piece in pieces if isinstance(piece, Served)]
        self._text.add(served.told.response.tokens, last=True)
        words = self._text.whole()
        said = (
            {"message": {"role": "assistant", "content": words}} if self._chat else {"text": words}
        )
        choice = {"index": 0, **said, "finish_reason": self._end(served), "logprobs": None}
        return {**self._head, **_fingerprint(served), "choices": [choice], **self._usage(served)}

    async def events(self, pieces: AsyncIterator[Sequence[int] | Served]) -> AsyncIterator[str]:
        """The answer piece by piece, as server-sent events."""
        yield self._event(self._delta("", first=True))
        try:
            async for piece in pieces:
                if not isinstance(piece, Served):
                    if words := self._text.add(piece):
                        yield self._event(self._delta(words))
                    continue
                if words := self._text.add((), last=True):
                    yield self._event(self._delta(words))
                fingerprint = _fingerprint(piece)
                yield self._event({**self._delta("", end=self._end(piece)), **fingerprint})
                options = self._asked.stream_options
                if options is not None and options.include_usage:
                    yield self._event({"choices": [], **self._usage(piece), **fingerprint})
        except HTTPException as failed:
            yield f"data: {json.dumps(error(str(failed.detail), kind='server_error'))}\n\n"
        yield "data: [DONE]\n\n"

    def _delta(self, words: str, *, first: bool = False, end: str | None = None) -> dict[str, Any]:
        delta = {"content": words} if words or first else {}
        if first:
            delta["role"] = "assistant"
        said: dict[str, Any] = {"delta": delta} if self._chat else {"text": words}
        return {"choices": [{"index": 0, **said, "finish_reason": end, "logprobs": None}]}

    def _event(self, content: dict[str, Any]) -> str:
        head = dict(self._head)
        if self._chat:
            head["object"] = "chat.completion.chunk"
        return f"data: {json.dumps({**head, **content})}\n\n"

    def _end(self, served: Served) -> str:
        cut = served.told.response.truncated and not self._text.stopped
        return "length" if cut else "stop"

    def _usage(self, served: Served) -> dict[str, Any]:
        return {"usage": usage(self._read, len(served.told.response.tokens))}


def _fingerprint(served: Served) -> dict[str, str]:
    """Which draft proposed: a seed repeats drawn text for as long as this is the same."""
    return {"system_fingerprint": f"draft-{served.version}"}
