"""One update: split the rollouts, score them, add up gradients, clip, move."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.types import Rollout
from distillkit.models.language_model import LanguageModel
from distillkit.objectives.base import Credit, Objective, Scored
from distillkit.training.ranks import Ranks
from distillkit.training.settings import LoopSettings, Reduction

ALONE = Ranks()

Opinions = Sequence[Tensor | None]
"""The teacher's last hidden states at the response positions of each rollout [T, D], where kept;
empty where none are."""

OVERHEAD = {"cpu": 1e9, "cuda": 1e13}
"""Operations that a device does while a micro-batch is set up: some 5 ms on two cores, 30 ms on
CUDA, where launching is what takes time."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The two models of a run; the teacher may be absent where nothing asks for it."""

    student: LanguageModel
    teacher: LanguageModel | None


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


def spare_padding(student: LanguageModel, teacher: LanguageModel) -> int:
    """Padded tokens whose arithmetic takes about as long as the overhead of one more micro-batch.

    A token costs two operations for every weight in a forward pass, and four in a backward one.
    """
    if student.packs:
        return 1 << 40
    operations = 6 * student.weights + 2 * teacher.weights
    return round(OVERHEAD[student.device.type] / operations)


def accumulate(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    objective: Objective,
    loop: LoopSettings,
    ranks: Ranks = ALONE,
    clock: Clock | None = None,
    opinions: Opinions = (),
    scale: float = 1.0,
) -> dict[str, float]:
    """Add this process's part of the global batch's gradient; return that of its loss.

    The weights are those of the whole batch, so any split into micro-batches, or over processes,
    gives one result once the processes' parts are added up.

    Args:
        rollouts: the global batch, the same in every process.
        sides: the models.
        objective: what is minimised.
        loop: how the batch is split and averaged.
        ranks: the processes that share it.
        clock: counts the phases of the objective.
        opinions: of the teacher, where they are known.
        scale: factor of the loss.
    """
    totals: dict[str, float] = {}
    batches = micro_batches(
        rollouts,
        sides=sides,
        loop=loop,
        ranks=ranks,
        objective=objective,
        opinions=opinions,
        scale=scale,
    )
    for batch in batches:
        parts = objective.backward(batch, student=sides.student, teacher=sides.teacher, clock=clock)
        for name, part in parts.items():
            totals[name] = totals.get(name, 0.0) + part
    return totals


def micro_batches(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    loop: LoopSettings,
    ranks: Ranks = ALONE,
    objective: Objective | None = None,
    opinions: Opinions = (),
    scale: float = 1.0,
) -> Iterator[Scored]:
    """This process's share of the global batch, in parts that fit through the models."""
    student, teacher = sides.student, sides.teacher or sides.student
    responses = [rollout.response.tokens for rollout in rollouts]
    weights = position_weights([len(response) for response in responses], loop.reduction)
    weights = [scale * weight for weight in weights]
    earned = objective.credit(rollouts, weights) if objective else None
    for rows in groups_of_rows(rollouts, sides=sides, loop=loop, ranks=ranks):
        texts = [responses[row] for row in rows]
        spread = [weights[row] for row in rows for _ in responses[row]]
        known = [opinion for row in rows if opinions and (opinion := opinions[row]) is not None]
        examples = [rollouts[row].example for row in rows]
        yield Scored(
            student=student.batch(student.prompts.of(examples), texts),
            teacher=teacher.batch(teacher.prompts.of(examples), texts),
            weights=torch.tensor(spread, dtype=torch.float32, device=student.device),
            credit=Credit.join([earned[row] for row in rows], student.device) if earned else None,
            opinions=torch.cat(known) if len(known) == len(rows) else None,
        )


def groups_of_rows(
    rollouts: Sequence[Rollout], *, sides: Sides, loop: LoopSettings, ranks: Ranks = ALONE
) -> list[list[int]]:
    """Which of this process's rows go through the models side by side."""
    student, teacher = sides.student, sides.teacher or sides.student
    examples = [rollout.example for rollout in rollouts]
    widths = [
        max(len(prompt), len(other)) + len(rollout.response.tokens)
        for prompt, other, rollout in zip(
            student.prompts.of(examples), teacher.prompts.of(examples), rollouts, strict=True
        )
    ]
    share = ranks.mine(sorted(range(len(rollouts)), key=lambda row: widths[row]))
    spare = spare_padding(student, teacher)
    groups = split_rows([widths[row] for row in share], loop.micro_batch_tokens, spare=spare)
    return [[share[place] for place in group] for group in groups]
