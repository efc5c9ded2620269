"""The shapes in which people write a prompt and its answer, told from a row's fields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from distillkit.core.types import Message
from distillkit.datasets.base import ask
from distillkit.datasets.chats import messages_of
from distillkit.datasets.rows import Row, shown

RESPONSES = ("response", "completion", "output")
"""Names of the answer beside a prompt; the first is the usual one."""
CHATS = ("messages", "conversations")
"""Names of a whole chat, OpenAI's and ShareGPT's."""


@dataclass(frozen=True, slots=True)
class Said:
    """A row's prompt and what was answered."""

    prompt: tuple[Message, ...]
    """The messages before the answer."""
    reference: str
    """The answer; "" where none is known."""
    alternatives: tuple[str, ...] = ()
    """Other answers."""


class Shape(Protocol):
    """How a row is to be read."""

    def read(self, row: Row) -> Said:
        """Prompt and answer of a row.

        Raises:
            DataError: the row lacks one of them, or it is not text.
        """

    def fields(self) -> Sequence[str | None]:
        """Names of the fields that are read."""

    def chats(self) -> Sequence[str | None]:
        """Names of those that may be chats, whose messages may have fields of their own."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and a response, each a text or a chat, and perhaps an input under the prompt."""

    prompt: str
    """Field of the prompt."""
    response: str | None
    """Field of the response, None where there is none."""
    given: str | None
    """Field of the input, None for none."""
    guess: str = ""
    """What is said of a row that was taken for this shape without being asked to; or ""."""

    def read(self, row: Row) -> Said:
        prompt = self._prompt(row)
        if self.response is None:
            return Said(prompt, "")
        if self.response not in row.values:
            raise row.error(f"{self.guess}has no {self.response}")
        answers = row.values[self.response]
        if not isinstance(answers, list):
            return Said(prompt, row.answer(self.response))
        if answers and all(isinstance(answer, str) for answer in answers):
            first, *others = answers
            return Said(prompt, _filled(first), tuple(text for text in others if text.strip()))
        messages = messages_of(row, self.response)
        if [message.role for message in messages] != ["assistant"]:
            raise row.error(
                f"{self.guess}has {self.response}={shown(answers)}, which is neither one message "
                "of the assistant's nor a list of texts"
            )
        return Said(prompt, _filled(messages[0].content))

    def fields(self) -> Sequence[str | None]:
        return (self.prompt, self.response, self.given)

    def chats(self) -> Sequence[str | None]:
        return (self.prompt, self.response)

    def _prompt(self, row: Row) -> tuple[Message, ...]:
        given = row.optional(self.given) if self.given else ""
        if not isinstance(row.values.get(self.prompt), list):
            return ask(row.question(self.prompt), given if given.strip() else "")
        if given.strip():
            raise row.error(
                f"has {self.given} beside a chat in {self.prompt}",
                otherwise="set dataset.input_field=null to leave that field out",
            )
        return _asking(row, self.prompt, messages_of(row, self.prompt))


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat whose last message is the response, if it is the assistant's."""

    field: str

    def read(self, row: Row) -> Said:
        messages = messages_of(row, self.field)
        answered = bool(messages) and messages[-1].role == "assistant"
        reference = _filled(messages.pop().content) if answered else ""
        return Said(_asking(row, self.field, messages), reference)

    def fields(self) -> Sequence[str | None]:
        return (self.field,)

    def chats(self) -> Sequence[str | None]:
        return (self.field,)


def _asking(row: Row, field: str, messages: list[Message]) -> tuple[Message, ...]:
    if not messages or messages[-1].role != "user" or not messages[-1].content.strip():
        raise row.error(f"has no question of the user's at the end of {field}")
    return tuple(messages)


def _filled(text: str) -> str:
    """A text; "" where it is white space alone."""
    return text if text.strip() else ""


def chat_in(row: Row, field: str) -> Chat:
    """The chat in a field; one of the usual name may also stand under another usual one."""
    if field in CHATS and row.values.get(field) is None:
        field = next((name for name in CHATS if row.values.get(name) is not None), field)
    return Chat(field)


@lru_cache(maxsize=64)
def _pair(prompt: str, response: str | None, given: str | None) -> Pair:
    return Pair(prompt, response, given if given not in (prompt, response) else None)


def pair_in(row: Row, prompt: str, response: str | None, given: str | None) -> Pair:
    """The pair in two fields; a response of the usual name may also have another usual one."""
    if response == RESPONSES[0] and row.value(response) is None:
        there = [name for name in RESPONSES if name in row.values]
        full = [name for name in there if row.value(name) is not None]
        response = next(iter(full + there), response)
    return _pair(prompt, response, given)


def shape_of(row: Row, *, prompt: str, response: str | None, given: str | None) -> Shape:
    """The shape of a row whose prompt is not where it usually is.

    Raises:
        DataError: it has none that is known.
    """
    for name in CHATS:
        if row.values.get(name) is not None:
            return Chat(name)
    if row.value("instruction") is not None:
        pair = pair_in(row, "instruction", response, given)
        return replace(pair, guess="is taken for Alpaca's and ")
    fields = ", ".join(str(name)[:40] for name in list(row.values)[:8]) or "none at all"
    raise row.error(
        f"has no {prompt}, and is no chat either: its fields are {fields}",
        otherwise="name its fields with dataset.prompt_field=... and dataset.response_field=...",
    )
