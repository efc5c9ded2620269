"""A request as plain data, and its answer as bytes: what engines are asked beside chat."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from json import loads
from typing import Any

from distillkit.endpoints.answers import package
from distillkit.endpoints.bounded import Malformed


@dataclass(frozen=True, slots=True)
class Question:
    """One request."""

    path: str
    """Below the url where it is relative, else a whole address."""
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    """Posted as JSON; None gets."""
    tokens: int = 0
    """That the server has in hand for it."""
    largest: int = 1 << 20
    """Bytes that the answer may have."""
    tolerates: frozenset[int] = frozenset()
    """Statuses that are an answer too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Read.

        Raises:
            Malformed: it is no JSON.
        """
        try:
            return loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Malformed("a page that is not JSON", status_code=200) from error

    def fields(self) -> dict[str, Any]:
        """Read, where it must be an object.

        Raises:
            Malformed: it is none.
        """
        found = self.json()
        if not isinstance(found, dict):
            raise Malformed("JSON that is no object", status_code=200)
        return found


async def put(client: Any, question: Question) -> Answer:
    """Ask.

    Args:
        client: of the package ``openai``.
        question: what is asked.

    Raises:
        OpenAIError: the package's own, where there is no answer, or one with another status.
    """
    openai = package()
    kind = openai.HttpxBinaryResponseContent
    try:
        if question.body is None:
            found = await client.get(question.path, cast_to=kind)
        else:
            found = await client.post(question.path, cast_to=kind, body=dict(question.body))
    except openai.APIStatusError as error:
        if error.status_code not in question.tolerates:
            raise
        return Answer(error.status_code, error.response.content)
    return Answer(200, found.content)
