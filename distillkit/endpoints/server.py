"""A server of token ids as a whole: what is asked of it is kept, and never asked twice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar

from distillkit.core.bounds import POSITIVE, check_range
from distillkit.core.costs import Costs
from distillkit.core.errors import ModelError
from distillkit.core.store import Store
from distillkit.endpoints.access import Access
from distillkit.endpoints.asking import Asking, unexplained
from distillkit.endpoints.questions import Answer, Question, put
from distillkit.endpoints.tokens import Misfit

AT_ONCE = 256
"""Requests under way at one time, however short they are: what vLLM runs side by side."""


@dataclass(kw_only=True, slots=True)
class TokenServer(Access):
    """A server that is asked about token ids."""

    NOT_IN_FINGERPRINT: ClassVar[tuple[str, ...]] = (
        *Access.NOT_IN_FINGERPRINT,
        "tokens_in_flight",
    )

    tokens_in_flight: int = 16384
    """Tokens of requests under way at one time."""

    def __post_init__(self) -> None:
        Access.__post_init__(self)  # slots take the class that a bare super() would need
        check_range(self, f"{self.FIELD}.", POSITIVE, "tokens_in_flight")

    @property
    def root(self) -> str:
        """The address without ``/v1``, below which engines have what is not OpenAI's."""
        return self.url.rstrip("/").removesuffix("/v1")

    def misfit(self, words: Misfit) -> ModelError:
        """An error that names the server."""
        return ModelError(f"{self.FIELD}.url={self.url}: {self.FIELD}.model={self.model} {words}.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question, and what is kept of its answer."""

    question: Question
    read: Callable[[Answer], bytes] = field(repr=False)
    """Checks an answer, and packs what is kept of it; may raise Misfit or Malformed."""


@dataclass(kw_only=True)
class Correspondent:
    """Asks one server, and keeps what it says."""

    settings: TokenServer
    store: Store
    kind: str
    """What is kept, in a word for the user."""
    explain: Callable[[int, str], str | None] = unexplained
    """A sentence of its own on a status and what the server said."""
    mend: Callable[[Any], Awaitable[bool]] | None = None
    """See :class:`Asking`."""
    least: int = 1 << 20
    """Bytes that any answer may have, those to ``mend`` among them."""
    price: float = 0.0
    """Of a million tokens."""
    poll: Callable[[], None] = lambda: None
    say: Callable[[str], None] = lambda _: None
    costs: Costs = field(default_factory=Costs, init=False)
    """Of what was asked by this process."""

    def get(self, wanted: Mapping[str, Wanted]) -> dict[str, bytes]:
        """What is kept of the answer to each question, by its key; asked where nothing is.

        Raises:
            EndpointError: the server refuses, or could not be reached for ``patience_seconds``.
            ModelError: an answer is about something else.
        """
        found = self.store.get(wanted)
        self.store.tell(self.kind, wanted, self.say)
        lacking = {key: each for key, each in wanted.items() if key not in found}
        if not lacking:
            return found
        kept, begun = len(found), monotonic()

        def take(key: str, told: tuple[bytes, int]) -> None:
            nonlocal kept
            value, size = told
            self.store.put({key: value})
            kept += 1
            count = lacking[key].question.tokens
            self.costs += Costs(count, size, 0.0, count * self.price / 1e6)
            found[key] = value

        def goes_on() -> str:
            return (
                f"{kept} of {len(wanted)} {self.kind} are kept in {self.store.path}; the same "
                "command goes on from there."
            )

        try:
            self._ask(lacking, take, goes_on)
        finally:
            self.costs += Costs(seconds=monotonic() - begun)
        return found

    def _ask(
        self,
        lacking: Mapping[str, Wanted],
        take: Callable[[str, tuple[bytes, int]], None],
        goes_on: Callable[[], str],
    ) -> None:
        asking = Asking(
            access=self.settings,
            waiting=lacking,
            put=self._put,
            take=take,
            goes_on=goes_on,
            workers=AT_ONCE,
            say=self.say,
            need=lambda each: each.question.tokens,
            tokens=self.settings.tokens_in_flight,
            largest=max([self.least, *(each.question.largest for each in lacking.values())]),
            explain=self.explain,
            mend=self.mend,
        )

        asyncio.run(asking.all(_in_trouble(asking, self.poll)))

    async def _put(self, client: Any, wanted: Wanted) -> tuple[bytes, int]:
        answer = await put(client, wanted.question)
        try:
            return wanted.read(answer), len(answer.body)
        except Misfit as words:
            raise self.settings.misfit(words) from None


def converse(
    settings: TokenServer,
    talk: Callable[[Any], Awaitable[None]],
    *,
    questions: Sequence[Question],
    explain: Callable[[int, str], str | None] = unexplained,
    poll: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Talk to a server that is waited for: from the beginning again where it fails.

    Args:
        settings: how it is reached.
        talk: given the package's client.
        questions: the largest of what is asked, for the room that answers are given.
        explain: see :class:`Asking`.
        poll: called while it waits; may raise to stop.
        say: told when the server fails and recovers.

    Raises:
        EndpointError: the server refuses, or could not be reached for ``patience_seconds``.
    """

    async def once(client: Any, _: None) -> None:
        try:
            await talk(client)
        except Misfit as words:
            raise settings.misfit(words) from None

    asking = Asking(
        access=settings,
        waiting={"": None},
        put=once,
        take=lambda *_: None,
        goes_on=lambda: "The same command tries it again.",
        workers=1,
        say=say,
        largest=max([1 << 20, *(each.largest for each in questions)]),
        explain=explain,
    )
    asyncio.run(asking.all(_in_trouble(asking, poll)))


def _in_trouble(asking: Asking[Any, Any], poll: Callable[[], None]) -> Callable[[], None]:
    """A stop waits for what is under way, unless that may never end."""

    def look() -> None:
        if asking.patience.since is not None:
            poll()

    return look
