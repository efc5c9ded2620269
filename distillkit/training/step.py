"""The gradient of one update: rollouts are split, read, scored, and added up."""

from collections.abc import Iterator, Sequence

import torch

from distillkit.core.clock import Clock
from distillkit.core.types import Rollout
from distillkit.distributed.placement import ALONE, Placement
from distillkit.objectives.base import Credit, Objective, Scored
from distillkit.objectives.noise import Noise
from distillkit.opinions.base import Opinion, Reader
from distillkit.training.dealing import groups_of_rows, idle
from distillkit.training.settings import LoopSettings, Reduction
from distillkit.training.sides import UNREAD, Kept, Sides


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


def accumulate(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    objective: Objective,
    loop: LoopSettings,
    placement: Placement = ALONE,
    clock: Clock | None = None,
    kept: Kept = UNREAD,
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
        kept: of the teacher's reading, where it has read.
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
        kept=kept,
        scale=scale,
        draw=draw,
    )
    for batch in batches:
        parts = objective.backward(batch, student=sides.student, clock=clock)
        # A pass that is made because others make one counts nothing.
        for name, part in parts.items() if batch.counts else ():
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
    kept: Kept = UNREAD,
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
    groups = groups_of_rows(
        rollouts, sides=sides, loop=loop, placement=placement, owners=kept.owners
    )
    if comparison and sides.reader is not None and not kept.opinions:
        with clock("teacher"):
            sides.reader.expect([rollouts[row] for rows in groups for row in rows])
    for rows in groups:
        part = [rollouts[row] for row in rows] or [idle(rollouts)]
        texts = [each.response.tokens for each in part]
        spread = [weights[row] for row in rows for _ in responses[row]] or [0.0]
        earns = earned and ([earned[row] for row in rows] or [earned[0].nothing()])
        lengths = [(row, len(responses[row])) for row in rows] or [(0, 1)]
        yield Scored(
            student=student.batch(student.prompts.of([each.example for each in part]), texts),
            weights=torch.tensor(spread, dtype=torch.float32, device=student.device),
            credit=Credit.join(earns, student.device) if earns else None,
            opinion=_opinion(sides.reader, part, _known(kept, rows), clock) if comparison else None,
            noise=Noise.of(noise, draw=draw, lengths=lengths) if noise else None,
            counts=bool(rows),
        )


def _known(kept: Kept, rows: Sequence[int]) -> list[Opinion]:
    """What is kept of some rows; of none, of one token."""
    if not rows and kept.idle is not None:
        return kept.idle.split([1, len(kept.idle) - 1])[:1]
    told = [kept.opinions[row] for row in rows] if kept.opinions else []
    return [opinion for opinion in told if opinion is not None]


def _opinion(
    reader: Reader | None, part: Sequence[Rollout], known: Sequence[Opinion], clock: Clock
) -> Opinion:
    with torch.no_grad(), clock("teacher"):
        if len(known) == len(part):
            return known[0].join(known[1:])
        assert reader is not None
        return reader.read(part)
