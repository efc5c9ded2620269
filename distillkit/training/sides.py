"""Who learns from whom, and what is kept of what was read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from distillkit.core.types import Author
from distillkit.models.language_model import LanguageModel
from distillkit.opinions.base import Opinion, Reader
from distillkit.opinions.states import ModelReader


@dataclass(frozen=True, slots=True)
class Sides:
    """Who learns, and who is learned from, where anything is."""

    student: LanguageModel
    """Learns."""
    teacher: LanguageModel | None = None
    """A model of this process, which may write and is measured."""
    reader: Reader | None = None
    """Who has opinions of rollouts."""
    same_ids: bool = True
    """Whether student and teacher give every token the same id."""

    @classmethod
    def of(cls, student: LanguageModel, teacher: LanguageModel | None) -> Self:
        """A student and the model that it learns from."""
        return cls(student, teacher, None if teacher is None else ModelReader(teacher))

    @property
    def models(self) -> list[LanguageModel]:
        """The models of this process."""
        return [self.student, *([] if self.teacher is None else [self.teacher])]

    def writing(self, authors: Sequence[Author]) -> list[LanguageModel]:
        """The models of this process that have a part in what these authors write now."""
        student = {Author.student, Author.mixture} & set(authors)
        teacher = [self.teacher] if Author.mixture in authors and self.teacher else []
        return [self.student, *teacher] if student else []

    @property
    def readers(self) -> list[LanguageModel | Reader]:
        """Everyone who has to find room for a prompt and a response."""
        return [self.student, *([] if self.reader is None else [self.reader])]


@dataclass(frozen=True, slots=True)
class Kept:
    """What this process keeps of the teacher's reading of some rollouts; of none at first."""

    opinions: Sequence[Opinion | None] = ()
    """Of each rollout; None of those that another process has had read."""
    owners: Sequence[int] = ()
    """The process that learns from each rollout; empty where they are dealt out anew."""
    idle: Opinion | None = None
    """Of any text, for a pass that is made because others make one."""

    def of(self, rows: Sequence[int]) -> Self:
        """The same of some of the rollouts."""
        if not self.opinions:
            return self
        return replace(
            self,
            opinions=[self.opinions[row] for row in rows],
            owners=[self.owners[row] for row in rows],
        )


UNREAD = Kept()
