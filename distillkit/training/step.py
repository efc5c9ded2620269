"""One update: split the rollouts, score them, add up gradients, clip, move."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from distillkit.core.clock import Clock
from distillkit.core.types import Rollout
from distillkit.models.language_model import LanguageModel
from distillkit.objectives.base import Objective, Scored
from distillkit.training.ranks import Ranks
from distillkit.training.settings import LoopSettings, Reduction

ALONE = Ranks()

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
        reduction: mean over tokens, or over sequences of each one's mean.
    """
    if reduction is Reduction.token_mean:
        return [1 / sum(lengths)] * len(lengths)
    return [1 / (len(lengths) * length) for length in lengths]


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
) -> float:
    """Add the global batch's gradient to the student and return its loss.

    The weights are those of the whole batch, so any split into micro-batches, or over processes,
    gives one result.

    Args:
        rollouts: the global batch, the same in every process.
        sides: the models.
        objective: what is minimised.
        loop: how the batch is split and averaged.
        ranks: the processes that share it.
        clock: counts the phases of the objective.
    """
    loss = 0.0
    for batch in micro_batches(rollouts, sides=sides, loop=loop, ranks=ranks):
        loss += objective.backward(batch, student=sides.student, teacher=sides.teacher, clock=clock)
    return ranks.add_up(sides.student.parameters(), loss)


def micro_batches(
    rollouts: Sequence[Rollout], *, sides: Sides, loop: LoopSettings, ranks: Ranks = ALONE
) -> Iterator[Scored]:
    """This process's share of the global batch, in parts that fit through the models."""
    student, teacher = sides.student, sides.teacher or sides.student
    prompts = [student.prompts.prompt_ids(rollout.example) for rollout in rollouts]
    theirs = [teacher.prompts.prompt_ids(rollout.example) for rollout in rollouts]
    responses = [rollout.response.tokens for rollout in rollouts]
    weights = position_weights([len(response) for response in responses], loop.reduction)
    widths = [
        max(len(prompt), len(other)) + len(response)
        for prompt, other, response in zip(prompts, theirs, responses, strict=True)
    ]
    share = ranks.mine(sorted(range(len(rollouts)), key=lambda row: widths[row]))
    lengths = [widths[row] for row in share]
    spare = spare_padding(student, teacher)
    for group in split_rows(lengths, loop.micro_batch_tokens, spare=spare):
        rows = [share[place] for place in group]
        texts = [responses[row] for row in rows]
        spread = [weights[row] for row in rows for _ in responses[row]]
        yield Scored(
            student=student.batch([prompts[row] for row in rows], texts),
            teacher=teacher.batch([theirs[row] for row in rows], texts),
            weights=torch.tensor(spread, dtype=torch.float32, device=student.device),
        )
