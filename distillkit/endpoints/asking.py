"""Questions to one server, side by side, with one patience and one pace for all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distillkit.core.errors import DistillkitError, EndpointError
from distillkit.endpoints.access import Access
from distillkit.endpoints.answers import (
    UNREADABLE,
    asked_for,
    is_final,
    package,
    reason,
    secret,
    status_of,
)
from distillkit.endpoints.bounded import LARGEST, Malformed, bounding
from distillkit.endpoints.patience import Pace, Patience

POLL_SECONDS = 0.2
"""Longest time between two looks at whether to stop."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def weightless(_: Any) -> int:
    """No tokens at all: how many questions are under way is limited by workers alone."""
    return 0


def unexplained(_: int, __: str) -> str | None:
    """Nothing is known of how a refusal is mended."""
    return None


class Room:
    """Lets in what fits: so many tokens at a time, and a larger piece alone."""

    def __init__(self, size: int) -> None:
        self._size, self._used, self._changed = size, 0, asyncio.Condition()

    @asynccontextmanager
    async def taken(self, need: int) -> AsyncIterator[None]:
        """Wait for so much room, and hold it inside."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._used or self._used + need <= self._size)
            self._used += need
        try:
            yield
        finally:
            async with self._changed:
                self._used -= need
                self._changed.notify_all()


@dataclass(kw_only=True)
class Asking(Generic[Question, Answer]):
    """One call: workers that share the questions, the patience and the pace."""

    access: Access
    waiting: Mapping[str, Question]
    """What is asked, by key."""
    put: Callable[[Any, Question], Awaitable[Answer]]
    """Asks the package's client one question."""
    take: Callable[[str, Answer], None]
    """Given each answer before its worker asks the next question."""
    goes_on: Callable[[], str]
    """A sentence on what is kept, which ends that on a failure."""
    workers: int
    """Questions under way at one time."""
    say: Callable[[str], None]
    need: Callable[[Question], int] = weightless
    """Tokens of a question."""
    tokens: int = 1
    """Tokens under way at one time."""
    largest: int = LARGEST
    """Bytes of the largest body."""
    explain: Callable[[int, str], str | None] = unexplained
    """A sentence of its own on a status and what the server said, where there is a better one."""
    mend: Callable[[Any], Awaitable[bool]] | None = None
    """Looks at a server that has failed before it is trusted again, for it may be another one. Says
    whether what was asked before and answered since may be used."""

    def __post_init__(self) -> None:
        self.openai, self.secret = package(), secret(self.access.key_variable)
        self.patience = Patience(self.access.patience_seconds)
        self.pace = Pace(self.access.requests_per_minute)
        self.suspect, self.mended, self.holds = False, 0, True

    async def all(self, poll: Callable[[], None]) -> None:
        """Ask everything; on any error cancel what is under way."""
        end, self.room, self.mending = self.access, Room(self.tokens), asyncio.Lock()
        hooks = {"response": [bounding(self.largest)]}
        async with self.openai.AsyncOpenAI(
            base_url=end.url,
            # The package insists on one; servers without keys ignore it.
            api_key=self.secret or "none",
            timeout=end.timeout,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=self.openai.DefaultAsyncHttpxClient(event_hooks=hooks),
        ) as client:
            questions = iter(self.waiting.items())
            workers = [
                asyncio.create_task(self._work(client, questions))
                for _ in range(min(self.workers, len(self.waiting)))
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

    async def _work(self, client: Any, questions: Iterator[tuple[str, Question]]) -> None:
        for key, question in questions:
            async with self.room.taken(self.need(question)):
                self.take(key, await self._answer(client, question))

    async def _answer(self, client: Any, question: Question) -> Answer:
        """Ask until there is an answer or no patience."""
        failures = 0
        while True:
            await self.pace.turn()
            try:
                # The client's own limit is on the time between two bytes.
                async with asyncio.timeout(self.access.timeout):
                    await self._mended(client)
                    mended = self.mended
                    answer = await self.put(client, question)
                    await self._mended(client)
                if self.mended != mended and not self.holds:
                    continue
            except DistillkitError:
                raise
            except TimeoutError:
                late = Malformed(f"no whole reply within {self.access.timeout:g} s")
                delay = self._after(late, failures)
            except (self.openai.OpenAIError, Malformed, *UNREADABLE) as error:
                delay = self._after(error, failures)
            else:
                self._relieved()
                return answer
            failures += 1
            await asyncio.sleep(delay)

    async def _mended(self, client: Any) -> None:
        """Trust the server again; others have it looked at side by side with this one."""
        if self.mend is None or not self.suspect:
            return
        async with self.mending:
            if self.suspect:
                self.holds = await self.mend(client)
                self.suspect, self.mended = False, self.mended + 1

    def _relieved(self) -> None:
        if self.patience.relieve():
            self.say(f"{self.access.url} answers again")

    def _after(self, error: Exception, failures: int) -> float:
        """Seconds to wait after a failure, or the sentence that ends it all."""
        end, why = self.access, reason(error, self.secret)
        # Nothing is chained, because a server's own words may repeat the key.
        if is_final(error):
            if said := self.explain(status_of(error) or 0, why):
                raise EndpointError(said) from None
            raise EndpointError(f"{self._refused(error, why)} {self.goes_on()}") from None
        first, self.suspect = self.patience.since is None, True
        delay = self.patience.delay(failures, at_least=asked_for(error))
        if delay is None:
            told = f"{end.FIELD}.url={end.url} gave no reply for {end.patience_seconds:g} s"
            raise EndpointError(f"{told} ({why}). {self.goes_on()}") from None
        if first:
            self.say(f"{end.url}: {why}; waiting for up to {end.patience_seconds:g} s")
        return delay

    def _refused(self, error: Exception, why: str) -> str:
        end, status = self.access, status_of(error) or 0
        what = f"{end.FIELD}.url={end.url} refused model={end.model} with status {status}"
        if status in (401, 403):
            state = "holds a key that it does not accept" if self.secret else "is not set"
            return f"{what}: the environment variable {end.key_variable} {state}."
        ways = {
            200: f"Check {end.FIELD}.url, which usually ends in /v1.",
            404: f"Check {end.FIELD}.model, and {end.FIELD}.url, which usually ends in /v1.",
            429: "Add credit to its account.",
        }
        return f"{what} ({why}). {ways.get(status, f'Mend what it names in {end.FIELD}.')}"
