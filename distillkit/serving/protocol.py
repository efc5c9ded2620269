"""What clients of OpenAI's API send and are sent; what would change an answer unseen is refused."""

import time
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from distillkit.core.types import Message

UNKNOWN = ("tools", "functions", "response_format", "logit_bias", "logprobs", "top_logprobs")
"""Fields that would change an answer, and that nobody here reads."""


class StreamOptions(BaseModel):
    """How a stream ends."""

    include_usage: bool = False


class Asked(BaseModel):
    """What both kinds of requests share."""

    model_config = ConfigDict(extra="allow")

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: Literal[1] | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None

    @property
    def longest(self) -> int | None:
        """Tokens of the response that are asked for."""
        return self.max_tokens

    @property
    def stops(self) -> list[str]:
        """Texts before which the response ends."""
        stop = self.stop or []
        return [each for each in ([stop] if isinstance(stop, str) else stop) if each]

    def unread(self) -> str | None:
        """A field that was given and that nobody here reads."""
        given = self.model_extra or {}
        return next((name for name in UNKNOWN if given.get(name)), None)


class Turn(BaseModel):
    """One message of a conversation."""

    role: str
    content: str

    def message(self) -> Message:
        """As a prompt format reads it."""
        return Message(self.role, self.content)


class ChatAsked(Asked):
    """The body of ``/v1/chat/completions``."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @property
    def longest(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionAsked(Asked):
    """The body of ``/v1/completions``."""

    prompt: str = Field(min_length=1)


def identity(kind: str) -> dict[str, Any]:
    """What every response begins with."""
    return {"id": f"{kind}-{uuid.uuid4().hex}", "created": int(time.time())}


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Tokens that were read and written."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def error(message: str, *, kind: str, code: str | None = None) -> dict[str, Any]:
    """The body of a response that is none."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
