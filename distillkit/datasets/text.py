"""Running text to be modelled as it is, such as the pre-training text of MiniLLM's third term.

MiniLLM (arXiv:2306.08543, algorithm 1) takes OpenWebText or the corpus of RoBERTa.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.core.bounds import check_least
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.folder import placed
from distillkit.datasets.formats import stem
from distillkit.datasets.json_lines import Values
from distillkit.datasets.plain_text import lines_of, without_compression
from distillkit.datasets.rows import Row, Source
from distillkit.datasets.source import Hub, SplitDataset, any_files

LAST_SPACE = re.compile(r"\s\S*\Z")
"""The last white space, with what follows it."""


@spec("dataset/text")
class Text(SplitDataset):
    """Passages of documents: nothing is asked, so no prompt format is put around them.

    A document longer than ``characters`` is cut at white space into ``<id>-0``, ``<id>-1``, ...;
    only its last passage is closed by an end token. Caps and ``validation_share`` count passages.
    """

    path: str | None = None
    """A file of rows, a ``.txt`` file that is one document, or a folder with a file for each
    split, as ``dataset=jsonl`` reads them; null reads the hub."""
    repository: str | None = None
    """Dataset of the Hugging Face hub, such as ``Skylion007/openwebtext``."""
    config: str | None = None
    """Its configuration, such as ``wikitext-103-raw-v1``; null for the only one."""
    split: str = "train"
    """Its split to train on; without ``documents`` a slice of one, as in ``train[:1%]``, too."""
    revision: str = "main"
    """Commit of the hub dataset. A branch name may bring other rows tomorrow."""
    documents: int | None = None
    """First rows of the hub's split, read without downloading the rest; null for all."""
    text_field: str = "text"
    """Field of the text."""
    characters: int = 2000
    """Longest passage."""
    opening: int = 0
    """Most characters, and at most half, of a passage that are given: a model writes what follows
    them, and that alone is learned. With 0 nothing is given."""

    def __post_init__(self) -> None:
        SplitDataset.__post_init__(self)
        if (self.path is None) == (self.repository is None):
            raise ConfigError(
                f"dataset.path={self.path} and dataset.repository={self.repository}: give one of "
                "them, a file or folder, or a dataset of the Hugging Face hub."
            )
        check_least(self, "dataset.", 1, "documents", "characters")
        if self.opening < 0:
            raise ConfigError(f"dataset.opening={self.opening} must be 0 or more.")

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        """Its values less the field that came later, where it is as if it had not."""
        kept = {key: value for key, value in values.items() if key != "opening" or value}
        return SplitDataset.earlier(self, kept)

    def source(self) -> Source:
        return Passages(self._documents(), self.text_field, self.characters)

    def example(self, row: Row) -> Example:
        opening, rest = opened(row.text(self.text_field), self.opening)
        return Example(
            id=row.id, prompt=(), reference=rest, closed=row.values["closed"], opening=opening
        )

    def extract(self, text: str) -> str | None:
        return None

    def _documents(self) -> Source:
        if self.path is None:
            assert self.repository is not None
            asked = {Split.train: self.split}
            return Hub(
                self.repository, self.config, asked, self.revision, self._normalise, self.documents
            )
        file = placed(self.path)
        if without_compression(file).suffix == ".txt" and file.is_file():
            return Document(f"dataset.path={self.path}", file, self.text_field)
        return any_files(self.path, "or one file of rows or of text")

    def _normalise(self, values: Values, place: str) -> Values:
        return {"id": place, self.text_field: values.get(self.text_field)}


@dataclass(frozen=True, slots=True)
class Document:
    """A text file as a training split of one row."""

    name: str
    """``dataset.path=...``."""
    file: Path
    """Of plain text."""
    field: str
    """Of the row that gets the text."""

    def splits(self) -> set[Split]:
        return {Split.train}

    def others(self) -> Sequence[str]:
        return ()

    def rows(self, split: Split) -> list[Row]:
        assert split is Split.train
        text = "".join(lines_of(self.file)).replace("\r\n", "\n").replace("\r", "\n")
        return [Row(self.name, stem(self.file), {self.field: text})]


@dataclass(frozen=True, slots=True)
class Passages:
    """The documents of another source in passages, one a row, each of which says if it is last."""

    documents: Source
    """Whole texts."""
    field: str
    """The text's."""
    characters: int
    """Most of a passage."""

    @property
    def name(self) -> str:
        return self.documents.name

    def splits(self) -> set[Split]:
        return self.documents.splits()

    def others(self) -> Sequence[str]:
        return self.documents.others()

    def rows(self, split: Split) -> list[Row]:
        return [passage for row in self.documents.rows(split) for passage in self._passages_of(row)]

    def _passages_of(self, row: Row) -> Iterator[Row]:
        texts = passages(row.text(self.field), self.characters)
        for number, text in enumerate(texts, 1):
            name = f"{row.id}-{number - 1}" if len(texts) > 1 else row.id
            values = {self.field: text, "closed": number == len(texts)}
            yield Row(row.origin, name, values, row.place)


def opened(passage: str, characters: int) -> tuple[str, str]:
    """What is given of a passage, cut at white space within so many characters, and the rest.

    At most half is given; nothing where that half has no white space but at its beginning.
    """
    most = min(characters, len(passage) // 2)
    found = LAST_SPACE.search(passage, 1, most + 1) if most else None
    end = found.start() if found else 0
    return passage[:end], passage[end:]


def passages(text: str, characters: int) -> list[str]:
    """A text without its outer white space in pieces which, joined, give it back.

    Each but the first begins with the white space at which it was cut, as many tokens do. A word
    longer than ``characters`` is cut inside. Blank text has no passage.
    """
    text = text.strip()
    pieces, start = list[str](), 0
    while len(text) - start > characters:
        # A space just behind the longest passage will do; one at its beginning would leave none.
        found = LAST_SPACE.search(text, start + 1, start + characters + 1)
        end = found.start() if found else start + characters
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]] if text else []
