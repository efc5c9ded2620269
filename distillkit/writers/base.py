"""What every writer is, and how one is chosen for the student's text."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from omegaconf import MISSING

from distillkit.core.bounds import LONGEST, POSITIVE, check_bound, check_range
from distillkit.core.spec import spec
from distillkit.core.types import Example, Response
from distillkit.models.pretrained import Teacher
from distillkit.models.sampling import Sampling

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.models.language_model import LanguageModel


class Writer(Protocol):
    """Writes responses to examples, whose prompts it renders as it reads them."""

    def write(
        self,
        examples: Sequence[Example],
        sampling: Sampling,
        *,
        seed: int | Sequence[int],
        poll: Callable[[], None] = lambda: None,
    ) -> list[Response]:
        """One response to each example, in their order.

        Args:
            examples: what is asked.
            sampling: how tokens are chosen.
            seed: of all draws of this call, or one for each row. The same seed writes the same.
            poll: called now and then; may raise to stop.
        """
        ...

    def follow(self, student: "LanguageModel", *, version: int) -> None:
        """Write from now on what the student would, as it is after so many updates."""
        ...


@runtime_checkable
class Waits(Protocol):
    """A writer that may have to wait for somebody else."""

    def attend(self, *, poll: Callable[[], None], say: Callable[[str], None]) -> None:
        """Told whom to ask whether to stop while it waits, and how to speak to the user."""
        ...


@dataclass(kw_only=True, slots=True)
class WriterSettings(ABC):
    """Who writes the student's text while it learns: a component of the group ``writer``."""

    IMPLIED: ClassVar = False
    """Whether runs made before there was a choice were made with it."""

    def tells_drawn(self) -> bool:
        """Whether it says how likely it drew each token, which policy gradients learn from."""
        return True

    @abstractmethod
    def open(self, student: "LanguageModel") -> Writer:
        """The writer, ready.

        Raises:
            DistillkitError: it cannot write for this student.
        """


@spec("writer/local")
class Local(WriterSettings):
    """The student itself, in this process."""

    IMPLIED: ClassVar = True

    def open(self, student: "LanguageModel") -> Writer:
        from distillkit.writers.local import LocalWriter

        return LocalWriter(student)


@spec("writer/speculative")
class Speculative(WriterSettings):
    """The student too, with a smaller model that proposes: the same text in distribution."""

    draft: str = MISSING
    """Hub name or folder of the model that proposes; it reads the student's prompts."""
    proposals: int = 5
    """Tokens that it proposes in a round."""

    def __post_init__(self) -> None:
        check_range(self, "writer.", POSITIVE, "proposals")
        check_bound("writer.proposals", self.proposals, LONGEST)

    def open(self, student: "LanguageModel") -> Writer:
        from distillkit.models.language_model import Draft
        from distillkit.models.loading import load_draft
        from distillkit.writers.local import LocalWriter

        model = load_draft(
            Teacher(name=self.draft),
            student,
            names=("writer.draft", "student.name"),
            device=student.device,
            precision="bf16" if student.autocast else "fp32",
        )
        return LocalWriter(student, draft=Draft(model, self.proposals))
