"""The loop: draw examples, have them answered, take a step. It knows no method by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from distillkit.core.clock import Clock
from distillkit.core.errors import RunError
from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example, Update
from distillkit.objectives.base import Objective
from distillkit.policies.base import Policy
from distillkit.training.ranks import Ranks
from distillkit.training.sampler import draw_indices
from distillkit.training.schedule import learning_rate
from distillkit.training.settings import LoopSettings, OptimizerSettings
from distillkit.training.step import ALONE, Sides, accumulate
from distillkit.training.writers import Writer, write_rollouts


@dataclass(frozen=True, slots=True)
class Parts:
    """All that an update is made of."""

    sides: Sides
    examples: Sequence[Example]
    policy: Policy
    writers: Mapping[Author, Writer]
    objective: Objective
    loop: LoopSettings
    optimizer: OptimizerSettings
    seed: int
    steps: int
    ranks: Ranks = ALONE


def build_optimizer(parts: Parts) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves vectors alone."""
    settings, parameters = parts.optimizer, parts.sides.student.parameters()
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps, fused=True
    )


def distil(parts: Parts, optimizer: torch.optim.Optimizer, *, start: int = 0) -> Iterator[Update]:
    """Yield one :class:`Update` a step, from ``start`` to the end.

    Every draw depends on the seed and the step, so a loop started at step k from the state after
    k steps goes on exactly as the one that was not stopped.

    Raises:
        RunError: the loss or the gradient is not finite.
    """
    for step in range(start, parts.steps):
        yield _update(parts, optimizer, step)


def _update(parts: Parts, optimizer: torch.optim.Optimizer, step: int) -> Update:
    student, loop, ranks = parts.sides.student, parts.loop, parts.ranks
    clock = Clock(student.wait)
    indices = draw_indices(
        step, batch_size=loop.batch_size, count=len(parts.examples), seed=parts.seed
    )
    examples = [parts.examples[index] for index in indices]
    authors = parts.policy.authors(step, len(examples), steps=parts.steps, seed=parts.seed)
    with clock("rollout"):
        # One for each step and process, so that no two draw alike; alone, it is the step.
        place = step * ranks.size + ranks.rank
        written = write_rollouts(
            ranks.mine(examples), ranks.mine(authors), writers=parts.writers, step=place
        )
    rollouts = ranks.gather(written)

    torch.manual_seed(child_seed(parts.seed, "dropout", step))
    student.module.train()
    optimizer.zero_grad(set_to_none=True)
    loss = accumulate(
        rollouts,
        sides=parts.sides,
        objective=parts.objective,
        loop=loop,
        ranks=ranks,
        clock=clock,
    )
    rate = learning_rate(step, steps=parts.steps, settings=parts.optimizer)
    with clock("optimizer"):
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), loop.max_grad_norm).item()
        _check_finite(loss, norm, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    responses = [rollout.response for rollout in rollouts]
    return Update(
        step=step + 1,
        rollouts=rollouts,
        seconds=clock.seconds,
        metrics={
            "loss": loss,
            "grad_norm": norm,
            "lr": rate,
            "tokens": float(sum(len(response.tokens) for response in responses)),
            "student_share": authors.count(Author.student) / len(authors),
            "truncated_share": sum(response.truncated for response in responses) / len(responses),
        },
    )


def _check_finite(loss: float, norm: float, step: int) -> None:
    if not (torch.isfinite(torch.tensor(loss)) and torch.isfinite(torch.tensor(norm))):
        raise RunError(
            f"the loss or gradient is not finite at step {step + 1} (loss {loss}, gradient norm "
            f"{norm}). Lower optimizer.lr, or use precision=fp32."
        )
