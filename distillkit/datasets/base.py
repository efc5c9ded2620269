"""What every dataset is: examples by split, and a judge of answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.core.types import Example, Message, Split


@dataclass(kw_only=True, slots=True)
class Dataset(ABC):
    """Examples by split. Owns its prompt, its answer extraction and its judge."""

    @abstractmethod
    def examples(self, split: Split) -> Sequence[Example]:
        """All examples of a split, in a fixed order.

        Raises:
            DataError: the split does not exist, or a row lacks a field.
        """

    def splits(self) -> set[Split]:
        """The splits that it has of its own, told without reading any."""
        return set(Split)

    @abstractmethod
    def extract(self, text: str) -> str | None:
        """The final answer stated in a response, or None where none can be read."""

    def is_correct(self, example: Example, text: str) -> bool:
        """Whether the response's final answer is the example's."""
        return self.extract(text) == example.answer


def ask(question: str, given: str = "") -> tuple[Message, ...]:
    """A prompt of one user message: a question, and what is given with it under a blank line."""
    content = f"{question}\n\n{given}" if given else question
    return (Message(role="user", content=content, input=given),)
