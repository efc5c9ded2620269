"""A server that speaks OpenAI's chat completions: asked side by side, patiently, never twice.

Every reply is in the store before the next question leaves, so whatever dies, the same questions go
on from there.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from json import dumps
from typing import Any, ClassVar
from urllib.parse import urlsplit

from distillkit.core.bounds import MORE_THAN_ZERO, POSITIVE, ZERO_OR_MORE, check_range
from distillkit.core.errors import ConfigError, EndpointError
from distillkit.core.keeper import Progress
from distillkit.core.store import Store, key_of
from distillkit.core.types import Message
from distillkit.endpoints.answers import (
    UNREADABLE,
    asked_for,
    is_final,
    package,
    read,
    reason,
    secret,
    status_of,
)
from distillkit.endpoints.bounded import Malformed, bound
from distillkit.endpoints.patience import Pace, Patience
from distillkit.endpoints.replies import Keeps, Reply, in_store, is_whole

Conversation = Sequence[Message]

POLL_SECONDS = 0.2
"""Longest time between two looks at whether to stop."""


class LengthField(StrEnum):
    """What a server calls the limit on a reply's length."""

    max_tokens = "max_tokens"
    max_completion_tokens = "max_completion_tokens"


@dataclass(kw_only=True, slots=True)
class ChatEndpoint:
    """Where a model is served, and how it is asked. The key itself is no part of it."""

    FIELD: ClassVar = "endpoint"
    NOT_IN_FINGERPRINT: ClassVar[tuple[str, ...]] = (
        *("url", "key_variable", "length_field", "concurrency"),
        *("requests_per_minute", "patience_seconds", "timeout"),
    )
    """How a server is reached, which changes no reply."""

    url: str
    """Root of the server, such as http://127.0.0.1:8000/v1."""
    model: str
    """Name of the model there; a server of local models often wants its folder."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key, which is sent to ``url``; it may be unset."""
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
    requests_per_minute: float | None = None
    """Most requests in a minute, repeated ones included; null for no limit."""
    patience_seconds: float = 600.0
    """How long a server that is unreachable, overloaded or out of order is waited for."""
    timeout: float = 600.0
    """Seconds from a request to the last byte of its reply, after which it counts as failed."""

    def __post_init__(self) -> None:
        address, prefix = urlsplit(self.url), f"{self.FIELD}."
        if "@" in (address.netloc or self.url):
            raise ConfigError(
                f"{self.FIELD}.url holds a name or password. Put that into an environment variable "
                f"and name it in {self.FIELD}.key_variable."
            )
        if address.scheme not in ("http", "https") or not address.hostname:
            rule = "begin with http:// or https:// and a host"
            raise ConfigError(f"{prefix}url must {rule}, got {self.url}.")
        check_range(self, prefix, ZERO_OR_MORE, "temperature")
        check_range(self, prefix, POSITIVE, "max_tokens", "concurrency")
        some = MORE_THAN_ZERO._replace(rule=f"{MORE_THAN_ZERO.rule}, or null for no limit")
        check_range(self, prefix, some, "requests_per_minute")
        check_range(self, prefix, ZERO_OR_MORE, "patience_seconds")
        check_range(self, prefix, MORE_THAN_ZERO, "timeout")

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
            asking = _Asking(self, waiting, store, len(before), say, progress, keeps)
            asyncio.run(asking.all(poll))
            passing = asking.passing
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


@dataclass
class _Asking:
    """One call of ``ask``: workers that share the questions, the patience and the pace."""

    endpoint: ChatEndpoint
    waiting: dict[str, Conversation]
    store: Store
    kept: int
    say: Callable[[str], None]
    progress: Progress
    keeps: Keeps

    def __post_init__(self) -> None:
        self.passing: dict[str, Reply] = {}
        self.came, self.total = 0, self.kept + len(self.waiting)
        self.openai, self.secret = package(), secret(self.endpoint.key_variable)
        self.patience = Patience(self.endpoint.patience_seconds)
        self.pace = Pace(self.endpoint.requests_per_minute)

    async def all(self, poll: Callable[[], None]) -> None:
        """Ask everything; on any error cancel what is under way."""
        end = self.endpoint
        self.say(f"asking {end.model} at {end.url} {len(self.waiting)} of {self.total} questions")
        async with self.openai.AsyncOpenAI(
            base_url=end.url,
            # The package insists on one; servers without keys ignore it.
            api_key=self.secret or "none",
            timeout=end.timeout,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=self.openai.DefaultAsyncHttpxClient(event_hooks={"response": [bound]}),
        ) as client:
            questions = iter(self.waiting.items())
            workers = [
                asyncio.create_task(self._work(client, questions))
                for _ in range(min(end.concurrency, len(self.waiting)))
            ]
            pending = set(workers)
            try:
                while pending:
                    done, pending = await asyncio.wait(
                        pending, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    for worker in done:
                        worker.result()
                    poll()
            finally:
                for worker in pending:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, client: Any, questions: Iterator[tuple[str, Conversation]]) -> None:
        for key, conversation in questions:
            reply = await self._answer(client, conversation)
            if self.keeps(Reply(**reply)):
                self.store.put({key: dumps(reply, ensure_ascii=False).encode()})
                self.kept += 1
            else:
                self.passing[key] = Reply(**reply)
            self.came += 1
            self.progress("replies", self.came, len(self.waiting))

    async def _answer(self, client: Any, conversation: Conversation) -> dict[str, Any]:
        """Ask until there is a reply or no patience."""
        failures = 0
        while True:
            await self.pace.turn()
            try:
                # The client's own limit is on the time between two bytes.
                async with asyncio.timeout(self.endpoint.timeout):
                    completion = await client.chat.completions.create(
                        **self.endpoint.request(conversation)
                    )
                reply = read(completion)
            except TimeoutError:
                late = Malformed(f"no whole reply within {self.endpoint.timeout:g} s")
                delay = self._after(late, failures)
            except (self.openai.OpenAIError, Malformed, *UNREADABLE) as error:
                delay = self._after(error, failures)
            else:
                if self.patience.relieve():
                    self.say(f"{self.endpoint.url} answers again")
                return reply
            failures += 1
            await asyncio.sleep(delay)

    def _after(self, error: Exception, failures: int) -> float:
        """Seconds to wait after a failure, or the sentence that ends it all."""
        end, why = self.endpoint, reason(error, self.secret)
        # Nothing is chained, because a server's own words may repeat the key.
        if is_final(error):
            raise EndpointError(f"{self._refused(error, why)} {self._goes_on()}") from None
        first = self.patience.since is None
        delay = self.patience.delay(failures, at_least=asked_for(error))
        if delay is None:
            raise EndpointError(
                f"{end.url} gave no reply for {end.patience_seconds:g} s ({why}). {self._goes_on()}"
            ) from None
        if first:
            self.say(f"{end.url}: {why}; waiting for up to {end.patience_seconds:g} s")
        return delay

    def _refused(self, error: Exception, why: str) -> str:
        end, status = self.endpoint, status_of(error) or 0
        what = f"{end.url} refused model={end.model} with status {status}"
        if status in (401, 403):
            state = "holds a key that it does not accept" if self.secret else "is not set"
            return f"{what}: the environment variable {end.key_variable} {state}."
        ways = {
            200: f"Check {end.FIELD}.url, which usually ends in /v1.",
            404: f"Check {end.FIELD}.model, and {end.FIELD}.url, which usually ends in /v1.",
            429: "Add credit to its account.",
        }
        return f"{what} ({why}). {ways.get(status, f'Mend what it names in {end.FIELD}.')}"

    def _goes_on(self) -> str:
        return (
            f"{self.kept} of {self.total} replies are kept in {self.store.path}; "
            "the same command goes on from there."
        )
