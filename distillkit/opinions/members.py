"""Readers of several teachers, opened together on the ids that all of them share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

import torch

from distillkit.core.costs import Costs
from distillkit.core.errors import ModelError
from distillkit.core.types import Example, Rollout
from distillkit.models.language_model import LanguageModel
from distillkit.models.likelihood import rows_within
from distillkit.models.loading import load
from distillkit.models.pair import agree_on_the_end
from distillkit.models.pretrained import Teacher
from distillkit.models.shared_ids import share_ids
from distillkit.opinions.base import Asked, OnlyReads, Opinion, Reader
from distillkit.opinions.blended import BlendedOpinion
from distillkit.opinions.routed import RoutedOpinion
from distillkit.opinions.several import Several, naming, told_by
from distillkit.opinions.sparse import SparseOpinion, told
from distillkit.opinions.states import ModelReader
from distillkit.supports.base import Support

CHUNK_MB = 160
"""Mebibytes for logits of a model of which a few entries are told."""


class Members(Reader):
    """All of several readers.

    Args:
        readers: by the names of the members, in their order.
        settings: say who reads what.
        notes: for the user.
    """

    def __init__(
        self, readers: Mapping[str, Reader], settings: Several, notes: Sequence[str] = ()
    ) -> None:
        self._readers, self._settings, self._notes = readers, settings, notes

    @property
    def context(self) -> int:
        """The smallest."""
        return min(reader.context for reader in self._readers.values())

    def prompt_length(self, example: Example) -> int:
        """The longest, of those that read it."""
        names = self._settings.readers_of(example)
        return max(self._readers[name].prompt_length(example) for name in names)

    def know(self, examples: Sequence[Example]) -> None:
        """Each is told of its own."""
        for name, reader in self._readers.items():
            reader.know([each for each in examples if name in self._settings.readers_of(each)])

    def foresee(self, rollouts: Iterable[Rollout]) -> None:
        """Each is told of its own."""
        known = list(rollouts)
        for name, rows in self.rows(known).items():
            with naming(name):
                self._readers[name].foresee([known[row] for row in rows])

    def expect(self, rollouts: Sequence[Rollout]) -> None:
        """Each is told of its own."""
        for name, rows in self.rows(rollouts).items():
            self._readers[name].expect([rollouts[row] for row in rows])

    def attend(self, *, poll: Callable[[], None], say: Callable[[str], None]) -> None:
        """All are told."""
        for reader in self._readers.values():
            reader.attend(poll=poll, say=say)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Those of all, by member."""
        return {
            f"{name}.{key}": value
            for name, reader in self._readers.items()
            for key, value in reader.identity.items()
        }

    @property
    def costs(self) -> Costs:
        """Those of all."""
        return sum((reader.costs for reader in self._readers.values()), Costs())

    @property
    def notes(self) -> Sequence[str]:
        """Those of all."""
        return [*self._notes, *chain(*(reader.notes for reader in self._readers.values()))]

    def rows(self, rollouts: Sequence[Rollout]) -> dict[str, list[int]]:
        """The rollouts that each member reads, of those that read any, in the members' order."""
        found: dict[str, list[int]] = {name: [] for name in self._readers}
        for row, rollout in enumerate(rollouts):
            for name in self._settings.readers_of(rollout.example):
                found[name].append(row)
        return {name: rows for name, rows in found.items() if rows}


class RoutedReader(Members):
    """Each example is read by one.

    Args:
        readers: by the names of the members, in their order.
        settings: say who reads what.
        notes: for the user.
        told: of which entries each tells alone, where not all tell every one.
        student: of whose ids they speak.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        settings: Several,
        notes: Sequence[str] = (),
        *,
        told: Support | None,
        student: LanguageModel,
    ) -> None:
        super().__init__(readers, settings, notes)
        self._told, self._student = told, student

    @property
    def padded_parameters(self) -> int:
        """The largest: a token meets one of them."""
        return max(reader.padded_parameters for reader in self._readers.values())

    def read(self, rollouts: Sequence[Rollout]) -> RoutedOpinion:
        """Each reads its own rows side by side."""
        rows, numbers = self.rows(rollouts), {name: n for n, name in enumerate(self._readers)}
        parts = {
            numbers[name]: self._said(name, [rollouts[row] for row in own])
            for name, own in rows.items()
        }
        owner = {row: numbers[name] for name, own in rows.items() for row in own}
        counts = (repeat(owner[n], len(each.response.tokens)) for n, each in enumerate(rollouts))
        return RoutedOpinion(parts, torch.tensor([*chain(*counts)]))

    def _said(self, name: str, rollouts: Sequence[Rollout]) -> Opinion:
        opinion = self._readers[name].read(rollouts)
        if self._told is None:
            return opinion
        if isinstance(opinion, SparseOpinion):
            entries = opinion.entries
            return SparseOpinion(
                entries if self._told.UNBIASED else self._told.among(entries), opinion.of_drawn
            )
        tokens = [*chain(*(rollout.response.tokens for rollout in rollouts))]
        rows = rows_within(CHUNK_MB, self._student.vocabulary)
        targets = torch.tensor(tokens, device=self._student.device)
        return told(opinion, targets, self._told, rows=rows, chunk_mb=CHUNK_MB)


class BlendedReader(Members):
    """All read every example, and are heard in shares."""

    @property
    def padded_parameters(self) -> int:
        """The sum: a token meets all of them."""
        return sum(reader.padded_parameters for reader in self._readers.values())

    def read(self, rollouts: Sequence[Rollout]) -> Opinion:
        """One after the other."""
        weights = self._settings.weights
        parts = [reader.read(rollouts) for reader in self._readers.values()]
        shares = [weights[name] / sum(weights.values()) for name in self._readers]
        return BlendedOpinion(parts, shares) if len(parts) > 1 else parts[0]


def open_members(settings: Several, student: LanguageModel, asked: Asked) -> Members:
    """All members, ready to be asked about this student's ids.

    Raises:
        DistillkitError: one cannot be asked, or they do not fit the student or each other.
    """
    models = {
        name: _loaded(name, member, student, asked)
        for name, member in settings.members.items()
        if isinstance(member, Teacher)
    }
    notes = _agreed(models, student)
    readers: dict[str, Reader] = {name: ModelReader(model) for name, model in models.items()}
    for name, member in settings.members.items():
        if isinstance(member, OnlyReads):
            with naming(name):
                readers[name] = member.open(student, asked)
    readers = {name: readers[name] for name in settings.members}
    if settings.weights:
        return BlendedReader(readers, settings, notes)
    dense = all(any(each.dense for each in told_by(*one)) for one in settings.members.items())
    return RoutedReader(
        readers,
        settings,
        notes,
        told=None if dense else asked.support,
        student=student,
    )


def _loaded(name: str, member: Teacher, student: LanguageModel, asked: Asked) -> LanguageModel:
    with naming(name):
        return load(member, device=student.device, precision=asked.precision)


def _agreed(models: Mapping[str, LanguageModel], student: LanguageModel) -> list[str]:
    """Confine all to the same ids, and let the student end as they do; notes for the user."""
    # What a later one lacks is cut from the student, and in the second round from the earlier ones.
    for name, model in [*models.items()] * 2:
        with naming(name):
            share_ids(model, student)
    ends = {model.end_id: name for name, model in models.items()}
    if len(ends) > 1:
        spelled = [
            f"{name} with {student.tokenizer.convert_ids_to_tokens(end)!r}"
            for end, name in ends.items()
        ]
        raise ModelError(
            f"the members of teacher=several end their text differently: {' and '.join(spelled)}, "
            "and a student can learn one end. Choose models of one family."
        )
    return [
        note.replace("teacher", f"teacher.members.{name}", 1)
        for name, model in models.items()
        for note in agree_on_the_end(model, student)
    ]
