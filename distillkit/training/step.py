"""The gradient of one update: rollouts are split, read, scored, and added up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from distillkit.core.clock import Clock
from distillkit.core.types import Rollout
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.language_model import LanguageModel
from distillkit.objectives.base import Credit, Objective, Scored
from distillkit.objectives.noise import Noise
from distillkit.opinions.base import Opinion, Reader
from distillkit.opinions.states import ModelReader
from distillkit.training.settings import LoopSettings, Reduction

Opinions = Sequence[Opinion | None]
"""The teacher's of each rollout, where kept; empty where none are."""

OVERHEAD = {"cpu": 1e9, "cuda": 1e13}
"""Operations that a device does while a micro-batch is set up: some 5 ms on two cores, 30 ms on
CUDA, where launching is what takes time."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Who learns, and who is learned from, where anything is."""

    student: LanguageModel
    """Learns."""
    teacher: LanguageModel | None = None
    """A model of this process, which may write and is measured."""
    reader: Reader | None = None
    """Who has opinions of rollouts."""

    @classmethod
    def of(cls, student: LanguageModel, teacher: LanguageModel | None) -> Self:
        """A student and the model that it learns from."""
        return cls(student, teacher, None if teacher is None else ModelReader(teacher))

    @property
    def models(self) -> list[LanguageModel]:
        """The models of this process."""
        return [self.student, *([] if self.teacher is None else [self.teacher])]

    @property
    def readers(self) -> list[LanguageModel | Reader]:
        """Everyone who has to find room for a prompt and a response."""
        return [self.student, *([] if self.reader is None else [self.reader])]


def position_weights(lengths: Sequence[int], reduction: Reduction) -> list[float]:
    """Weight of each response position of a row, a number for each row.

    Args:
        lengths: response tokens of every row of the *global* batch, counted after rollouts exist.
        reduction: mean over tokens, or over sequences of each one's mean or sum.
    """
    match reduction:
        case Reduction.token_mean:
            return [1 / sum(lengths)] * len(lengths)
        case Reduction.sequence_mean:
            return [1 / (len(lengths) * length) for length in lengths]
        case Reduction.sequence_sum:
            return [1 / len(lengths)] * len(lengths)


def split_rows(lengths: Sequence[int], budget: int, *, spare: int) -> list[list[int]]:
    """Group rows of like length so that rows x longest stays within a budget of tokens.

    A row longer than the budget forms a group of its own.

    Args:
        lengths: tokens of each row.
        budget: most padded tokens of a group.
        spare: a row that would pad the shorter ones by more tokens begins a group instead.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        group = groups[-1] if groups else []
        padding = len(group) * (lengths[row] - lengths[group[-1]]) if group else 0
        if group and (len(group) + 1) * lengths[row] <= budget and padding <= spare:
            group.append(row)
        else:
            groups.append([row])
    return groups


def spare_padding(student: LanguageModel, reader: Reader | None) -> int:
    """Padded tokens whose arithmetic takes about as long as the overhead of one more micro-batch.

    A token costs two operations for every weight in a forward pass, and four in a backward one.
    Where nobody reads, a reader of the student's size is counted, so that rows are put together
    as they have been by earlier versions.
    """
    if student.packs:
        return 1 << 40
    read = (reader or student).active_parameters
    operations = 6 * student.active_parameters + 2 * read
    return round(OVERHEAD[student.device.type] / operations)


def accumulate(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    objective: Objective,
    loop: LoopSettings,
    placement: Placement = ALONE,
    clock: Clock | None = None,
    opinions: Opinions = (),
    scale: float = 1.0,
    draw: int = 0,
) -> dict[str, float]:
    """Add this process's part of the global batch's gradient; return that of its loss.

    The weights are those of the whole batch, so any split into micro-batches, or over processes,
    gives one result once the processes' parts are added up.

    Args:
        rollouts: the global batch, the same in every process.
        sides: the models.
        objective: what is minimised.
        loop: how the batch is split and averaged.
        placement: the processes that share it.
        clock: counts the phases of the objective.
        opinions: of the teacher, where they are known.
        scale: factor of the loss.
        draw: seed of the noise on what the teacher says, where the objective has any.
    """
    totals: dict[str, float] = {}
    batches = micro_batches(
        rollouts,
        sides=sides,
        loop=loop,
        placement=placement,
        objective=objective,
        clock=clock,
        opinions=opinions,
        scale=scale,
        draw=draw,
    )
    for batch in batches:
        parts = objective.backward(batch, student=sides.student, clock=clock)
        for name, part in parts.items():
            totals[name] = totals.get(name, 0.0) + part
    return totals


def micro_batches(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    loop: LoopSettings,
    placement: Placement = ALONE,
    objective: Objective,
    clock: Clock | None = None,
    opinions: Opinions = (),
    scale: float = 1.0,
    draw: int = 0,
) -> Iterator[Scored]:
    """This process's share of the global batch, in parts that fit through the models.

    Where the objective compares, each comes with the opinions that are known of its rows, or with
    what the teacher says now.
    """
    student, clock = sides.student, clock or Clock()
    comparison = objective.comparison()
    noise = 0.0 if comparison is None else comparison.teacher_noise
    responses = [rollout.response.tokens for rollout in rollouts]
    weights = position_weights([len(response) for response in responses], loop.reduction)
    weights = [scale * weight for weight in weights]
    earned = objective.credit(rollouts, weights)
    for rows in groups_of_rows(rollouts, sides=sides, loop=loop, placement=placement):
        texts = [responses[row] for row in rows]
        spread = [weights[row] for row in rows for _ in responses[row]]
        part = [rollouts[row] for row in rows]
        known = [opinions[row] for row in rows] if opinions else []
        yield Scored(
            student=student.batch(student.prompts.of([each.example for each in part]), texts),
            weights=torch.tensor(spread, dtype=torch.float32, device=student.device),
            credit=Credit.join([earned[row] for row in rows], student.device) if earned else None,
            opinion=_opinion(sides.reader, part, known, clock) if comparison else None,
            noise=Noise.of(noise, draw=draw, lengths=[(row, len(responses[row])) for row in rows])
            if noise
            else None,
        )


def _opinion(
    reader: Reader | None, part: Sequence[Rollout], known: Opinions, clock: Clock
) -> Opinion:
    told = [opinion for opinion in known if opinion is not None]
    with torch.no_grad(), clock("teacher"):
        if len(told) == len(part):
            return told[0].join(told[1:])
        assert reader is not None
        return reader.read(part)


def groups_of_rows(
    rollouts: Sequence[Rollout], *, sides: Sides, loop: LoopSettings, placement: Placement = ALONE
) -> list[list[int]]:
    """Which of this process's rows go through the models side by side."""
    readers = sides.readers
    widths = [
        max(reader.prompt_length(rollout.example) for reader in readers)
        + len(rollout.response.tokens)
        for rollout in rollouts
    ]
    share = placement.mine(sorted(range(len(rollouts)), key=lambda row: widths[row]))
    spare = spare_padding(sides.student, sides.reader)
    groups = split_rows([widths[row] for row in share], loop.micro_batch_tokens, spare=spare)
    return [[share[place] for place in group] for group in groups]
