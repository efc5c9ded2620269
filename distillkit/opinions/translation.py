"""A rollout as a teacher of another tokenizer reads it, and where both have read the same text.

The teacher has a prompt format, ids and an end of its own. Who scores what is translated is not
known here: a model of this process, or anybody who can be asked about ids.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from distillkit.core.errors import DataError
from distillkit.core.types import Example, Rollout
from distillkit.models.forms.base import Prompt
from distillkit.models.language_model import LanguageModel
from distillkit.models.prompts import PromptFormat
from distillkit.models.token_bytes import Bytes, TokenBytes
from distillkit.opinions.alignment import Chunk, chunks


class Tongue(Protocol):
    """How a teacher is spoken to, wherever it is."""

    prompts: PromptFormat
    """Its tokenizer and prompt format."""
    end_id: int
    """The token that ends its text."""
    context: int
    """Most tokens of prompt and response together."""


class Translation(NamedTuple):
    """A rollout in the teacher's ids."""

    prompt: Prompt
    ids: tuple[int, ...]
    """The response, never empty; as far as it is text, and as the context has room."""
    chunks: Sequence[Chunk]
    """Places in the student's response and in ``ids`` that hold the same bytes. An end token that
    closes both is the last; what a chat template puts behind it is in none."""


class Translator:
    """From a student's ids to a teacher's.

    Args:
        student: whose responses are translated.
        teacher: who is to read them.

    Raises:
        ModelError: one of the tokenizers does not say which bytes its tokens are.
    """

    def __init__(self, student: LanguageModel, teacher: Tongue) -> None:
        self._student, self._teacher = student, teacher
        self.ours, self.theirs = (
            TokenBytes(side.tokenizer, side.plain, name=f"{name}.name")
            for name, side in (("student", student.prompts), ("teacher", teacher.prompts))
        )
        # Every update asks for its rows several times, and a dataset's text comes again.
        self._reread = lru_cache(maxsize=1 << 14)(self._read)

    def prompt(self, example: Example) -> Prompt:
        """In the teacher's format.

        Raises:
            DataError: it leaves no room for a response.
        """
        prompt, context = self._teacher.prompts.prompt_ids(example), self._teacher.context
        if len(prompt) >= context:
            raise DataError(
                f"the prompt of {example.id} has {len(prompt)} of the teacher's tokens, which "
                f"leaves no room for a response in its context of {context}. Leave the row out, "
                "or choose a teacher with more room."
            )
        return prompt

    def of(self, rollout: Rollout) -> Translation:
        """The rollout as the teacher reads it."""
        prompt, response = self.prompt(rollout.example), rollout.response
        room = self._teacher.context - len(prompt)
        return Translation(prompt, *self._reread(response.tokens, response.truncated, room))

    def _read(
        self, tokens: tuple[int, ...], truncated: bool, room: int
    ) -> tuple[tuple[int, ...], list[Chunk]]:
        closed = not truncated and tokens[-1] in self._student.stop_ids
        ours = self.ours.of(tokens[:-1] if closed else tokens)
        whole = b"".join(each or b"" for each in ours)
        prompts, end = self._teacher.prompts, self._teacher.end_id
        ids = list(prompts.plain.ids(_text(whole)))
        without = prompts.unread | prompts.unscored
        known = next((place for place, each in enumerate(ids) if each in without), len(ids))
        ids = ids[: min(known, room)]
        theirs = self.theirs.of(ids, whole)
        found = chunks(ours, theirs)
        if closed and len(ids) < room and b"".join(each or b"" for each in theirs) == whole:
            ends = (range(len(side), len(side) + 1) for side in (ours, ids))
            return (*ids, end), [*found, Chunk(*ends)]
        return tuple(ids) or (end,), found


def _text(whole: bytes) -> str:
    """The text of bytes, up to the first that are none."""
    try:
        return whole.decode()
    except UnicodeDecodeError as error:
        return whole[: error.start].decode()


def shared_tokens(
    ours: TokenBytes, theirs: TokenBytes, *, of: frozenset[int], to: frozenset[int]
) -> list[tuple[int, int]]:
    """Pairs of ids whose tokens are the same bytes; of several the first.

    Args:
        ours: the student's tokens.
        theirs: the teacher's.
        of: the student's real ids.
        to: the teacher's.
    """
    known: dict[Bytes, int] = {}
    for number in sorted(to):
        known.setdefault(theirs[number], number)
    found: dict[bytes, tuple[int, int]] = {}
    for number in sorted(of):
        token = ours[number]
        if token and token in known:
            found.setdefault(token, (number, known[token]))
    return list(found.values())
