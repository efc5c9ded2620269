"""The teacher reads what was written: how likely it finds each token, and its hidden states.

Both are made in one pass. The hidden states are kept as long as their rollouts are, so that no
update has the teacher read a text again.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.types import Batch, Rollout
from distillkit.models.language_model import LanguageModel
from distillkit.objectives.base import Objective
from distillkit.objectives.sft import token_nlls
from distillkit.training.ranks import Ranks
from distillkit.training.settings import LoopSettings
from distillkit.training.step import Opinions, Sides, groups_of_rows


def appraise(
    rollouts: Sequence[Rollout],
    *,
    sides: Sides,
    objective: Objective,
    loop: LoopSettings,
    ranks: Ranks,
    clock: Clock,
) -> tuple[list[Rollout], Opinions]:
    """Rollouts with the teacher's log-probs where the objective reads them, and its opinions.

    Args:
        rollouts: those of all processes.
        sides: the models.
        objective: says what it needs.
        loop: how rows are put side by side.
        ranks: the processes; each has the teacher read its share, and keeps the opinions of it.
        clock: counts the phase ``teacher``.
    """
    unread = any(not rollout.response.of_teacher for rollout in rollouts)
    scored, compares = objective.scores_text() and unread, objective.comparison() is not None
    if not scored and not (compares and loop.span > 1):
        return list(rollouts), ()
    teacher = sides.teacher
    assert teacher is not None
    opinions: list[Tensor | None] = [None] * len(rollouts)
    scores: dict[int, tuple[float, ...]] = {}
    with torch.no_grad(), clock("teacher"):
        for rows in groups_of_rows(rollouts, sides=sides, loop=loop, ranks=ranks):
            batch = _batch([rollouts[row] for row in rows], teacher)
            hidden = teacher.hidden(batch)
            lengths = [len(rollouts[row].response.tokens) for row in rows]
            if compares:
                for row, states in zip(rows, hidden.split(lengths), strict=True):
                    opinions[row] = states
            if scored:
                nlls = token_nlls(
                    hidden, batch.targets, teacher.head, chunk_mb=objective.chunk_mb
                ).double()
                for row, values in zip(rows, nlls.split(lengths), strict=True):
                    scores[row] = tuple((-values).tolist())
    if not scored:
        return list(rollouts), opinions
    scores = ranks.merge(scores)
    read = [
        replace(rollout, response=replace(rollout.response, of_teacher=scores[row]))
        for row, rollout in enumerate(rollouts)
    ]
    return read, opinions if compares else ()


def _batch(part: Sequence[Rollout], teacher: LanguageModel) -> Batch:
    prompts = teacher.prompts.of([rollout.example for rollout in part])
    return teacher.batch(prompts, [rollout.response.tokens for rollout in part])
