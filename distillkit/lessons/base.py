"""What every teacher that writes is: requests in, texts out, each kept from the moment it exists.

After UNDO (arXiv:2504.02521): a lesson for a training question is written, and written again, with
the student's errors on validation questions in view. Evidence only ever appears in a request.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.core.keeper import Keeper
from distillkit.core.types import Example, Message
from distillkit.endpoints.replies import Reply


@dataclass(frozen=True, slots=True)
class ValidationRecord:
    """A validation question as evidence of what the student can do."""

    id: str
    """Of the validation example."""
    question: str
    """Its text."""
    lesson: str
    """A right answer with its work."""
    answer: str
    """What the student wrote."""
    correct: bool
    """Whether that was right."""


@dataclass(frozen=True, slots=True)
class Request:
    """A lesson to be written."""

    example: Example
    """The training question, with its right answer."""
    conversation: tuple[Message, ...]
    """The same as a prompt for a language model; all it shows is in this request."""
    lessons: tuple[str, ...] = ()
    """Earlier lessons for this question, oldest first; none in the first round."""
    answer: str | None = None
    """What the student answers to it now; None where the teacher is not shown that."""
    correct: bool | None = None
    """Whether that is right."""
    evidence: tuple[ValidationRecord, ...] = ()
    """The student on validation questions; none where the teacher is not shown any."""
    words: int | None = None
    """How long the lesson should be; None leaves it to the teacher."""
    attempt: int = 0
    """0 at first, counting up when a text was not accepted."""


class WritingTeacher(ABC):
    """Somebody who can be asked for lessons."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Who it is, for the provenance of a lesson."""

    @abstractmethod
    def write(self, requests: Sequence[Request], *, keeper: Keeper) -> list[Reply]:
        """A text for each request, from the keeper's store where it has one.

        The text is as written: whether it is right is not the teacher's to judge. A request that
        was refused before comes back with a higher ``attempt`` and must not get the same text
        merely because it is the likeliest.

        Args:
            requests: what is wanted.
            keeper: keeps each text before the next is asked for; also polls, and shows progress.
        """
