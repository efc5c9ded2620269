"""The teacher reads what was written: how likely it finds each token, and what else it thinks.

Both are made in one pass. Its opinions are kept as long as their rollouts are, so that no
update has the teacher read a text again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from distillkit.core.clock import Clock
from distillkit.core.types import Rollout
from distillkit.distributed.placement import Placement
from distillkit.objectives.base import Objective
from distillkit.opinions.base import Opinion
from distillkit.training.dealing import deal_out, groups_of_rows, idle
from distillkit.training.settings import LoopSettings
from distillkit.training.sides import UNREAD, Kept, Sides


def appraise(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    objective: Objective,
    loop: LoopSettings,
    placement: Placement,
    clock: Clock,
) -> tuple[list[Rollout], Kept]:
    """Rollouts with the teacher's log-probs where the objective reads them, and its opinions.

    Args:
        rollouts: those of all processes.
        sides: the models.
        objective: says what it needs.
        loop: how rows are put side by side.
        placement: the processes; each has the teacher read its share, and keeps the opinions of it.
        clock: counts the phase ``teacher``.
    """
    unread = any(not rollout.response.of_teacher for rollout in rollouts)
    scored, compares = objective.scores_text() and unread, objective.comparison() is not None
    if not scored and not (compares and loop.span > 1):
        return list(rollouts), UNREAD
    owners = deal_out(rollouts, sides=sides, placement=placement)
    reader = sides.reader
    assert reader is not None
    opinions: dict[int, Opinion] = {}
    spare: Opinion | None = None
    scores: dict[int, tuple[float, ...]] = {}
    with torch.no_grad(), clock("teacher"):
        groups = groups_of_rows(
            rollouts, sides=sides, loop=loop, placement=placement, owners=owners
        )
        reader.expect([rollouts[row] for rows in groups for row in rows])
        for rows in groups:
            opinion = reader.read([rollouts[row] for row in rows] or [idle(rollouts)])
            lengths = [len(rollouts[row].response.tokens) for row in rows] or [1]
            # A pass that is made because others make one has no rows.
            if compares:
                split = opinion.split(lengths)
                spare = split[0]
                opinions |= dict(zip(rows, split, strict=False))
            if scored:
                drawn = opinion.drawn(chunk_mb=objective.chunk_mb).double()
                for row, values in zip(rows, drawn.split(lengths), strict=False):
                    scores[row] = tuple(values.tolist())
    told = [opinions.get(row) for row in range(len(rollouts))]
    kept = Kept(told, owners=owners, idle=spare) if compares else UNREAD
    return (_scored(rollouts, placement.merge(scores)) if scored else list(rollouts)), kept


def _scored(rollouts: Sequence[Rollout], scores: Mapping[int, tuple[float, ...]]) -> list[Rollout]:
    return [
        replace(rollout, response=replace(rollout.response, of_teacher=scores[row]))
        for row, rollout in enumerate(rollouts)
    ]
