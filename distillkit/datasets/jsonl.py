"""The user's own rows: one file of them, or a folder with one for each split."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import field
from enum import StrEnum
from functools import partial
from typing import Any

from distillkit.core.errors import DataError
from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets import answers
from distillkit.datasets.base import Remark
from distillkit.datasets.chats import unread_keys
from distillkit.datasets.rows import Row, Source, shown
from distillkit.datasets.shapes import Shape, chat_in, pair_in, shape_of
from distillkit.datasets.shelf import listed
from distillkit.datasets.source import SplitDataset, any_files

LETTERS = "ABCDEFGHIJ"

PROMPT = "prompt"
"""The usual name of a prompt, at which rows of other shapes are recognised."""


class AnswerKind(StrEnum):
    """How a final answer is read out of a response."""

    number = "number"
    letter = "letter"
    yes_no = "yes_no"
    text = "text"


class Unusable(StrEnum):
    """What becomes of rows that cannot be read as a prompt and its answer."""

    refuse = "refuse"
    skip = "skip"


LATER = {"input_field": "input", "unusable": Unusable.refuse, "tags": []}
"""Fields that came later, at the values which leave a run's fingerprint as it was."""

READERS: dict[AnswerKind, Callable[[str], str | None]] = {
    AnswerKind.number: answers.last_number,
    AnswerKind.letter: partial(answers.last_letter, letters=LETTERS),
    AnswerKind.yes_no: answers.last_yes_or_no,
    AnswerKind.text: answers.last_words,
}


@spec("dataset/jsonl")
class JsonLines(SplitDataset):
    """Prompts taken as they are. A single file is train, and is carved as the base says.

    A row is a prompt and a response (each a text or a chat), Alpaca's instruction, input and
    output, or a chat in OpenAI's or ShareGPT's words. A response that is null, NaN or white space
    alone is none; one that is a list of texts is the first of them, the others alternatives.
    """

    path: str
    """A file of JSON lines, JSON, csv, tsv or parquet, compressed or not; a pattern of several;
    or a folder of ``train.jsonl``, ``valid.jsonl``, ``test.jsonl``, or other endings."""
    prompt_field: str = PROMPT
    """Field of the question. Rows without ``prompt`` may have ``messages``, ``conversations`` or
    ``instruction``."""
    input_field: str | None = "input"
    """Field of what is given with the question, under a blank line; null for none."""
    response_field: str | None = "response"
    """Field of the reference response, for ``response`` also ``completion`` or ``output``; null
    where there is none."""
    references_field: str | None = None
    """Field of a list of other references, for metrics that take the best; null for none."""
    messages_field: str | None = None
    """Field of a chat in place of the two above: its last message is the response if it is the
    assistant's, and the messages before it are the prompt."""
    answer_field: str | None = None
    """Field of the final answer to judge by; null judges nothing."""
    answer_kind: AnswerKind = AnswerKind.text
    """``number``, ``letter`` (A to J), ``yes_no``, or ``text`` (the last line, to the letter)."""
    tags: list[str] = field(default_factory=list)
    """Fields that say more of an example, such as ``[subject]``: ``teacher.route.field`` can name
    one."""
    unusable: Unusable = Unusable.refuse
    """``refuse`` rows with tool calls, images or without a field; or ``skip`` and count them."""

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        """Its values less the fields that came later, where they are as if they had not."""
        same = {key for key, value in LATER.items() if values.get(key) == value}
        return SplitDataset.earlier(self, {key: values[key] for key in values if key not in same})

    def source(self) -> Source:
        return any_files(self.path, "or one file of rows")

    def example(self, row: Row) -> Example:
        return self._example(row, self._shape(row))

    def made(self, rows: Sequence[Row], split: Split) -> tuple[list[Example], Sequence[Remark]]:
        examples, skipped = list[Example](), list[DataError]()
        unread: Counter[str] = Counter()
        for row in rows:
            try:
                shape = self._shape(row)
                examples.append(self._example(row, shape))
            except DataError as error:
                if self.unusable is Unusable.refuse:
                    raise
                skipped.append(error)
                continue
            if split is Split.train:
                unread.update(self._unread(row, shape))
        if rows and not examples:
            raise DataError(f"none of the {len(rows)} {split} rows can be used: {skipped[0]}")
        about = _about_skipped(skipped, split, len(rows))
        return examples, [*about, *_about_fields(unread, len(examples))]

    def extract(self, text: str) -> str | None:
        return READERS[self.answer_kind](text)

    def _shape(self, row: Row) -> Shape:
        if self.messages_field is not None:
            return chat_in(row, self.messages_field)
        if self.prompt_field == PROMPT and row.value(PROMPT) is None:
            return shape_of(
                row, prompt=PROMPT, response=self.response_field, given=self.input_field
            )
        return pair_in(row, self.prompt_field, self.response_field, self.input_field)

    def _example(self, row: Row, shape: Shape) -> Example:
        said = shape.read(row)
        return Example(
            id=row.id,
            prompt=said.prompt,
            reference=said.reference,
            answer=self._answer(row),
            alternatives=said.alternatives + self._alternatives(row),
            tags=tuple((name, row.text(name)) for name in self.tags if row.value(name) is not None),
        )

    def _unread(self, row: Row, shape: Shape) -> list[str]:
        """Names of what is in a row and in nothing that is made of it."""
        values = row.values
        read = ("id", self.references_field, self.answer_field, *self.tags, *shape.fields())
        unread = [name for name in values if name not in read and values[name] not in (None, "")]
        for chats in shape.chats():
            if chats is not None and isinstance(chat := values.get(chats), list):
                unread += unread_keys(chat, chats)
        return unread

    def _alternatives(self, row: Row) -> tuple[str, ...]:
        if self.references_field is None:
            return ()
        texts = row.values.get(self.references_field)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise row.error(
                f"has {self.references_field}={shown(texts)}, which is not a list of texts"
            )
        if not all(text.strip() for text in texts):
            raise row.error(f"has an empty text in {self.references_field}")
        return tuple(texts)

    def _answer(self, row: Row) -> str:
        if self.answer_field is None:
            return ""
        value = row.values.get(self.answer_field)
        said = ("no", "yes")[value] if isinstance(value, bool) else row.text(self.answer_field)
        answer = self.extract(said)
        if answer is None:
            raise row.error(
                f"has {self.answer_field}={shown(said)}, in which dataset.answer_kind="
                f"{self.answer_kind} reads no answer"
            )
        return answer


def _about_skipped(skipped: Sequence[DataError], split: Split, count: int) -> list[Remark]:
    if not skipped:
        return []
    first = str(skipped[0]).split(";")[0]
    return [
        Remark(
            f"dataset.unusable=skip leaves out {len(skipped)} of {count} {split} rows, the first "
            f"because {first}"
        )
    ]


def _about_fields(unread: Counter[str], count: int) -> list[Remark]:
    if not unread:
        return []
    named = [f"{field} (in {found} of {count})" for field, found in unread.most_common()]
    return [
        Remark(
            f"fields of the training rows that are not read: {listed(named)}",
            "Name what belongs to the prompt or the answer with dataset.input_field=... and its "
            "kin, or leave it so",
        )
    ]
