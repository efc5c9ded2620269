"""The loop: draw examples, have them answered, take a step. It knows no method by name."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import torch
from torch import nn

from distillkit.core.clock import Clock
from distillkit.core.errors import RunError
from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Response, Rollout, Update
from distillkit.models.layers import seed_dropout
from distillkit.training.collection import Collection, collect, reopen
from distillkit.training.diagnostics import diagnose
from distillkit.training.parts import Parts
from distillkit.training.schedule import learning_rate
from distillkit.training.settings import OptimizerSettings
from distillkit.training.sides import Kept
from distillkit.training.step import accumulate


def build_optimizer(parts: Parts) -> torch.optim.AdamW:
    """What moves the student of a run."""
    return adamw(parts.sides.student.parameters(), parts.optimizer)


def adamw(parameters: Sequence[nn.Parameter], settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves vectors alone."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps, fused=True
    )


def distil(
    parts: Parts,
    optimizer: torch.optim.Optimizer,
    *,
    start: int = 0,
    kept: Sequence[Rollout] = (),
) -> Iterator[Update]:
    """Yield one :class:`Update` a step, from ``start`` to the end.

    Every draw depends on the seed and the step, so a loop started at step k from the state after
    k steps goes on exactly as the one that was not stopped.

    Args:
        parts: what an update is made of.
        optimizer: moves the student.
        start: updates that are done.
        kept: :attr:`Update.collection` of the last of them.

    Raises:
        RunError: the loss or the gradient is not finite.
    """
    collection = None
    for step in range(start, parts.steps):
        clock, first = Clock(parts.sides.student.wait), step - step % parts.loop.span
        if collection is None and step != first:
            collection = reopen(parts, first, kept, clock=clock)
        elif collection is None or step == first:
            collection = collect(parts, step, clock=clock)
        yield _update(parts, optimizer, step, collection=collection, clock=clock)


def _update(
    parts: Parts,
    optimizer: torch.optim.Optimizer,
    step: int,
    *,
    collection: Collection,
    clock: Clock,
) -> Update:
    student, loop = parts.sides.student, parts.loop
    rollouts, kept = collection.batch(parts, step)
    place = (parts.placement.rank,) if parts.placement.size > 1 else ()
    seed_dropout(child_seed(parts.seed, "dropout", step, *place), student.device)
    student.learn(dropout=not parts.objective.POLICY_GRADIENT)
    optimizer.zero_grad(set_to_none=True)
    numbers = _gradient(parts, rollouts, step, kept=kept, clock=clock)
    rate = learning_rate(step, steps=parts.steps, settings=parts.optimizer)
    if (teacher := parts.sides.teacher) is not None:
        # What its last pass has left here is not needed before the next one.
        parts.placement.reshard(teacher.module)
    with clock("optimizer"):
        norm = parts.placement.reduce_and_clip(student.parameters(), loop.max_grad_norm)
        check_finite(numbers["loss"], norm, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return Update(
        step=step + 1,
        rollouts=rollouts,
        collection=collection.rollouts if (step + 1) % loop.span else (),
        seconds=clock.seconds,
        metrics={
            "loss": numbers.pop("loss"),
            "grad_norm": norm,
            "lr": rate,
            **_shares([rollout.response for rollout in rollouts]),
            **diagnose(rollouts),
            **numbers,
        },
    )


def _gradient(
    parts: Parts, rollouts: Sequence[Rollout], step: int, *, kept: Kept, clock: Clock
) -> dict[str, float]:
    """Put this process's part into the student's gradients; return the loss of all, in parts."""
    shared: Any = {
        "sides": parts.sides,
        "loop": parts.loop,
        "placement": parts.placement,
        "clock": clock,
    }
    draw = child_seed(parts.seed, "teacher noise", step)
    numbers = accumulate(rollouts, objective=parts.objective, kept=kept, draw=draw, **shared)
    if parts.other is not None:
        seed = child_seed(parts.seed, "beside")
        text = parts.other.rollouts(step, batch_size=parts.loop.batch_size, seed=seed)
        objective, weight = parts.other.beside.objective, parts.other.beside.weight
        more = accumulate(text, objective=objective, scale=weight, **shared)
        numbers["loss/pretraining"] = more.get("loss", 0.0)
        numbers["loss"] = numbers.get("loss", 0.0) + more.get("loss", 0.0)
    return parts.placement.add_up(numbers)


def _shares(responses: Sequence[Response]) -> dict[str, float]:
    # A mixture's text counts: the student had a voice in all of it.
    own = sum(response.author in (Author.student, Author.mixture) for response in responses)
    return {
        "tokens": float(sum(len(response.tokens) for response in responses)),
        "student_share": own / len(responses),
        "truncated_share": sum(response.truncated for response in responses) / len(responses),
    }


def check_finite(loss: float, norm: float, step: int) -> None:
    """Refuse to move weights by what is no number.

    Raises:
        RunError: the loss or the gradient is not finite.
    """
    if not (isfinite(loss) and isfinite(norm)):
        raise RunError(
            f"the loss or gradient is not finite at step {step + 1} (loss {loss}, gradient norm "
            f"{norm}). Lower optimizer.lr, or use precision=fp32."
        )
