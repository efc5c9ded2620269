"""A teacher behind a server that speaks OpenAI's chat completions, such as vLLM's."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from distillkit.core.bounds import MORE_THAN_ZERO, ZERO_OR_MORE, check_range
from distillkit.core.keeper import Keeper
from distillkit.core.spec import spec
from distillkit.core.store import key_of
from distillkit.endpoints.chat import ChatEndpoint, Conversation
from distillkit.endpoints.replies import Reply, complaint, is_whole
from distillkit.lessons.attempts import by_attempt
from distillkit.lessons.base import Request, WritingTeacher
from distillkit.models.pretrained import AnyTeacher


@spec("teacher/endpoint")
class EndpointTeacher(ChatEndpoint, AnyTeacher):
    """A served model. ``temperature`` and ``max_tokens`` are those of its lessons."""

    FIELD: ClassVar = "teacher"
    NOT_IN_FINGERPRINT: ClassVar[tuple[str, ...]] = (
        *ChatEndpoint.NOT_IN_FINGERPRINT,
        *("input_price", "output_price"),
    )

    retry_temperature: float | None = 0.7
    """Of all later attempts, where a lesson was refused; null leaves it to the server."""
    input_price: float = 0.0
    """Money for a million tokens read."""
    output_price: float = 0.0
    """Money for a million tokens written."""

    def __post_init__(self) -> None:
        ChatEndpoint.__post_init__(self)
        warmer = MORE_THAN_ZERO._replace(
            rule=f"{MORE_THAN_ZERO.rule}, or null to leave it to the server"
        )
        check_range(self, "teacher.", warmer, "retry_temperature")
        check_range(self, "teacher.", ZERO_OR_MORE, "input_price", "output_price")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Money for so many tokens, in the unit of the prices."""
        return (prompt_tokens * self.input_price + completion_tokens * self.output_price) / 1e6

    def of_attempt(self, attempt: int) -> ChatEndpoint:
        """How an attempt is asked: as configured at first, then warmer, each with its own seed."""
        if attempt == 0:
            return self
        own = {field.name: getattr(self, field.name) for field in fields(ChatEndpoint)}
        own["temperature"] = self.retry_temperature
        own["seed"] = None if self.seed is None else self.seed + attempt
        return _Again(**own, attempt=attempt)


@dataclass(kw_only=True, slots=True)
class _Again(ChatEndpoint):
    """A later attempt: its replies are kept apart, for servers that are sent no seed too."""

    FIELD: ClassVar = "teacher"

    attempt: int

    def key(self, conversation: Conversation) -> str:
        return key_of("again", self.attempt, ChatEndpoint.key(self, conversation))


@dataclass(frozen=True, slots=True)
class ServedTeacher(WritingTeacher):
    """Asks the server for lessons."""

    endpoint: EndpointTeacher
    """Where and how."""

    @property
    def name(self) -> str:
        return self.endpoint.model

    def write(self, requests: Sequence[Request], *, keeper: Keeper) -> list[Reply]:
        """See :meth:`WritingTeacher.write`.

        Raises:
            EndpointError: the server refuses, or could not be reached; replies are kept.
            ConfigError: the package ``openai`` is missing, or the key can be no key.
        """
        return by_attempt(requests, lambda *part: self._asked(*part, keeper=keeper))

    def _asked(self, attempt: int, requests: Sequence[Request], *, keeper: Keeper) -> list[Reply]:
        endpoint = self.endpoint.of_attempt(attempt)
        conversations = [request.conversation for request in requests]

        def came(_: str, done: int, total: int) -> None:
            keeper.made["lessons"] += 1
            keeper.progress("lessons", done, total)

        replies = endpoint.ask(
            conversations, store=keeper.store, poll=keeper.poll, say=keeper.say, progress=came
        )
        asked = zip(conversations, replies, strict=True)
        known = {endpoint.key(conversation) for conversation, reply in asked if reply.reused}
        keeper.reused["lessons"] += len(known)
        useless = [reply for reply in replies if not is_whole(reply)]
        warning = complaint(
            useless,
            len(replies),
            who=f"{endpoint.FIELD}.model={endpoint.model}",
            lack="are empty or cut",
            key=endpoint.key_variable,
        )
        if warning:
            keeper.say(warning)
        return replies
