"""What every dataset is: examples by split, and a judge of answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distillkit.core.errors import DataError
from distillkit.core.types import Example, Message, Split


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that the user should know of how the examples were read."""

    what: str
    """Without a full stop at the end."""
    mend: str = ""
    """What to do, where it is probably not what was meant; "" where it may well be."""

    def sentence(self) -> str:
        """All of it on one line."""
        return f"{self.what}. {self.mend}." if self.mend else self.what


@dataclass(frozen=True, slots=True)
class Gathered:
    """The examples of several splits, and what is to be said of them."""

    examples: Mapping[Split, Sequence[Example]]
    remarks: Sequence[Remark] = ()


@dataclass(kw_only=True, slots=True)
class Dataset(ABC):
    """Examples by split. Owns its prompt, its answer extraction and its judge."""

    labelled: int | None = None
    """First training examples that keep their reference and answer; null for all. The dataset
    writes from those alone, everybody else answers every prompt."""

    @abstractmethod
    def examples(self, split: Split) -> Sequence[Example]:
        """All examples of a split, in a fixed order.

        Raises:
            DataError: the split does not exist, or a row lacks a field.
        """

    def read(self, splits: Sequence[Split]) -> Gathered:
        """:meth:`examples` of several splits at once, with remarks on where they come from.

        Raises:
            DataError: as above.
        """
        return Gathered({split: self.examples(split) for split in splits})

    def gather(self, splits: Sequence[Split]) -> Gathered:
        """What a training may know: :meth:`read`, with no more labels than ``labelled``.

        Raises:
            DataError: as above, or there are fewer training examples than that.
        """
        found = self.read(splits)
        if self.labelled is None or Split.train not in found.examples:
            return found
        train = found.examples[Split.train]
        if self.labelled > len(train):
            raise DataError(
                f"dataset.labelled={self.labelled}, but the training split has {len(train)} "
                "examples. Lower it, or leave it null to use the labels of all."
            )
        known, rest = train[: self.labelled], train[self.labelled :]
        kept = [*known, *(example.unlabelled() for example in rest)]
        return replace(found, examples={**found.examples, Split.train: kept})

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        """Its values less the fields that came later, where they are as if they had not."""
        return {key: values[key] for key in values if key != "labelled" or values[key] is not None}

    def splits(self) -> set[Split]:
        """The splits that it has of its own, told without reading any."""
        return set(Split)

    @abstractmethod
    def extract(self, text: str) -> str | None:
        """The final answer stated in a response, or None where none can be read."""

    def stated(self, example: Example, text: str) -> str | None:
        """:meth:`extract` of a response to this example."""
        return self.extract(text)

    def is_correct(self, example: Example, text: str) -> bool:
        """Whether the response's final answer is the example's."""
        return self.extract(text) == example.answer


def about_prompts(examples: Sequence[Example]) -> list[Remark]:
    """A remark where the usual example asks what another asks too, as when half of it is lost."""
    asked = [example.prompt for example in examples if example.prompt]
    distinct = len(set(asked))
    if 2 * distinct > len(asked) or len(asked) < 2:
        return []
    return [
        Remark(
            f"the {len(asked)} training examples ask only {distinct} distinct prompts",
            "Check that the fields of the dataset name all that is asked",
        )
    ]


def ask(question: str, given: str = "") -> tuple[Message, ...]:
    """A prompt of one user message: a question, and what is given with it under a blank line."""
    content = f"{question}\n\n{given}" if given else question
    return (Message(role="user", content=content, input=given),)
