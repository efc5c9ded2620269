"""A server that speaks OpenAI's chat completions: asked side by side, patiently, never twice.

Every reply is in the store before the next question leaves, so whatever dies, the same questions go
on from there.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from json import dumps
from typing import Any, ClassVar

from distillkit.core.bounds import POSITIVE, ZERO_OR_MORE, check_range
from distillkit.core.keeper import Progress
from distillkit.core.store import Store, key_of
from distillkit.core.types import Message
from distillkit.endpoints.access import Access
from distillkit.endpoints.answers import read
from distillkit.endpoints.asking import Asking
from distillkit.endpoints.replies import Keeps, Reply, in_store, is_whole

Conversation = Sequence[Message]


class LengthField(StrEnum):
    """What a server calls the limit on a reply's length."""

    max_tokens = "max_tokens"
    max_completion_tokens = "max_completion_tokens"


@dataclass(kw_only=True, slots=True)
class ChatEndpoint(Access):
    """Where a model is served, and how it is asked."""

    NOT_IN_FINGERPRINT: ClassVar[tuple[str, ...]] = (
        *Access.NOT_IN_FINGERPRINT,
        *("length_field", "concurrency"),
    )

    temperature: float | None = 0.0
    """Of the replies; 0 is greedy, null leaves it to the server."""
    seed: int | None = 0
    """Of the replies, where the server heeds it; null sends none."""
    max_tokens: int = 1024
    """Longest reply."""
    length_field: LengthField = LengthField.max_tokens
    """``max_completion_tokens`` for models that refuse ``max_tokens``, such as OpenAI's own."""
    concurrency: int = 4
    """Requests under way at one time."""

    def __post_init__(self) -> None:
        Access.__post_init__(self)  # slots take the class that a bare super() would need
        prefix = f"{self.FIELD}."
        check_range(self, prefix, ZERO_OR_MORE, "temperature")
        check_range(self, prefix, POSITIVE, "max_tokens", "concurrency")

    def ask(
        self,
        conversations: Sequence[Conversation],
        *,
        store: Store,
        poll: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda _: None,
        progress: Progress = lambda *_: None,
        keeps: Keeps = is_whole,
    ) -> list[Reply]:
        """A reply to each conversation, from the store where it has one.

        Args:
            conversations: what is asked; equal ones are asked once.
            store: where replies are kept from the moment they arrive.
            poll: called while replies are awaited; may raise to stop, which cancels the rest.
            say: told what is asked, and when the server fails and recovers.
            progress: called after each reply with ``replies``, how many came and were to come.
            keeps: which replies are kept, and used again; others are asked for again next time.

        Raises:
            EndpointError: the server refuses, or could not be reached for ``patience_seconds``.
            ConfigError: the package ``openai`` is missing, or the key can be no key.
        """
        keys = [self.key(conversation) for conversation in conversations]
        before = in_store(store, keys, keeps)
        store.tell("replies", keys, say)
        asked = zip(keys, conversations, strict=True)
        waiting = {key: conversation for key, conversation in asked if key not in before}
        passing: dict[str, Reply] = {}
        if waiting:
            # An older version kept what is of no use; a key that is there keeps its value.
            store.forget(waiting)
            replies = _Replies(store, len(before), len(before) + len(waiting), progress, keeps)
            say(f"asking {self.model} at {self.url} {len(waiting)} of {replies.total} questions")
            asking = Asking(
                access=self,
                waiting=waiting,
                put=self._put,
                take=replies.take,
                goes_on=replies.goes_on,
                workers=self.concurrency,
                say=say,
            )
            asyncio.run(asking.all(poll))
            passing = replies.passing
        # Read back: where two processes asked at the same time, both use the reply kept first.
        found = passing | in_store(store, keys, keeps)
        return [replace(found[key], reused=key in before) for key in keys]

    def key(self, conversation: Conversation) -> str:
        """The store's key of the reply: of all that decides it, and so not of the url."""
        messages = [[message.role, message.content] for message in conversation]
        return key_of("chat", self.model, messages, self.temperature, self.seed, self.max_tokens)

    def request(self, conversation: Conversation) -> dict[str, Any]:
        """The fields of one request."""
        fields = {
            "model": self.model,
            "messages": [{"role": each.role, "content": each.content} for each in conversation],
            "temperature": self.temperature,
            "seed": self.seed,
            str(self.length_field): self.max_tokens,
        }
        return {name: value for name, value in fields.items() if value is not None}

    async def _put(self, client: Any, conversation: Conversation) -> dict[str, Any]:
        return read(await client.chat.completions.create(**self.request(conversation)))


@dataclass
class _Replies:
    """Where the replies of one call go."""

    store: Store
    kept: int
    total: int
    progress: Progress
    keeps: Keeps

    def __post_init__(self) -> None:
        self.passing: dict[str, Reply] = {}
        self.came, self.coming = 0, self.total - self.kept

    def take(self, key: str, reply: dict[str, Any]) -> None:
        """Keep a reply, or have it once."""
        if self.keeps(Reply(**reply)):
            self.store.put({key: dumps(reply, ensure_ascii=False).encode()})
            self.kept += 1
        else:
            self.passing[key] = Reply(**reply)
        self.came += 1
        self.progress("replies", self.came, self.coming)

    def goes_on(self) -> str:
        """What is kept."""
        return (
            f"{self.kept} of {self.total} replies are kept in {self.store.path}; "
            "the same command goes on from there."
        )
