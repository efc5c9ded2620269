"""Parts of a run on tiny models, and the loss of an update in dense float64."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.divergences.kl import ForwardKL
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.objectives.base import Objective
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.policies.base import Policy
from distillkit.policies.fixed import OnPolicy
from distillkit.supports.full import Full
from distillkit.training.authors import DatasetAuthor, WritingAuthor
from distillkit.training.checkpoint import Progress, check_checkpoint, load_checkpoint
from distillkit.training.parts import Parts
from distillkit.training.sampler import Pool
from distillkit.training.settings import LoopSettings, OptimizerSettings, Reduction
from distillkit.training.sides import Sides
from distillkit.writers.local import LocalWriter
from distillkit.writers.mixture import MixtureWriter
from tests.tiny import example

EXAMPLES = [
    example("Tom has 12 apples and buys 30 more. How many?", " 42."),
    example("How many?", " It is 7, I think."),
    example("Ann had 5 pens.", " 5"),
    example("What is 3 times 4 plus 5?", " 3 times 4 is 12. 12 plus 5 is 17."),
]


def parts(
    student: LanguageModel,
    teacher: LanguageModel | None,
    *,
    policy: Policy | None = None,
    objective: Objective | None = None,
    examples: Sequence[Example] = EXAMPLES,
    sampling: Sampling | None = None,
    steps: int = 4,
    seed: int = 5,
    optimizer: dict[str, Any] | None = None,
    **loop: Any,
) -> Parts:
    """Parts of a run; on-policy forward KL unless asked otherwise."""
    sampling = sampling or Sampling(max_new_tokens=6)
    return Parts(
        sides=Sides.of(student, teacher),
        pool=Pool.of(examples),
        policy=policy or OnPolicy(),
        authors={
            Author.dataset: DatasetAuthor(student, [student]),
            Author.student: student_author(student, sampling, seed=seed),
        },
        objective=objective or DivergenceObjective(support=Full(), divergence=ForwardKL()),
        loop=LoopSettings(**{"batch_size": len(examples), **loop}),
        optimizer=OptimizerSettings(**(optimizer or {})),
        seed=seed,
        steps=steps,
    )


def student_author(student: LanguageModel, sampling: Sampling, *, seed: int) -> WritingAuthor:
    """The student's own text."""
    return WritingAuthor(LocalWriter(student), student, sampling, seed=seed)


def mixture_author(
    student: LanguageModel, teacher: LanguageModel, sampling: Sampling, *, share: float, seed: int
) -> WritingAuthor:
    """Text of both."""
    writer = MixtureWriter(student, teacher, share=share)
    return WritingAuthor(writer, student, sampling, seed=seed)


def rollout(asked: Example, tokens: Sequence[int]) -> Rollout:
    """An example answered with these ids."""
    return Rollout(asked, Response(tuple(tokens), truncated=False, author=Author.dataset))


Logits = Callable[[LanguageModel, Example, Sequence[int]], Tensor]


def dense(
    rollouts: Sequence[Rollout],
    *,
    student: LanguageModel,
    teacher: LanguageModel,
    value: Callable[[Tensor, Tensor], Tensor],
    reduction: Reduction = Reduction.token_mean,
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient by the definition: row by row, unpadded, all logits, float64.

    Args:
        rollouts: the global batch.
        student: copied, not changed.
        teacher: copied, not changed.
        value: divergence of two rows of log-probabilities, teacher first.
        reduction: mean over tokens, or over sequences of each one's mean or sum.
    """
    modules = {side: copy.deepcopy(side.module).double() for side in (student, teacher)}
    terms = []
    for item in rollouts:
        tokens = item.response.tokens
        theirs, ours = (
            log_probs(modules[side], side, item.example, tokens) for side in (teacher, student)
        )
        terms.append(torch.stack([value(p, q) for p, q in zip(theirs.detach(), ours, strict=True)]))
    loss = {
        Reduction.token_mean: torch.cat(terms).mean(),
        Reduction.sequence_mean: torch.stack([term.mean() for term in terms]).mean(),
        Reduction.sequence_sum: torch.stack([term.sum() for term in terms]).mean(),
    }[reduction]
    modules[student].zero_grad()
    loss.backward()
    return loss.item(), {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in modules[student].named_parameters()
    }


def log_probs(
    module: Any, side: LanguageModel, asked: Example, tokens: Sequence[int]
) -> Sequence[Tensor]:
    """Log-probabilities before each response token, over the real ids [T, V]."""
    prompt = side.prompts.prompt_ids(asked)
    logits = module(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
    rows = [logits[len(prompt) + place - 1] for place in range(len(tokens))]
    return torch.stack(rows)[:, : side.head.vocabulary].log_softmax(-1)


def forward_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of one position."""
    return (teacher.exp() * (teacher - student)).sum()


def reverse_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(student || teacher) of one position."""
    return (student.exp() * (student - teacher)).sum()


def loaded(path: Path, *, student: LanguageModel, optimizer: torch.optim.Optimizer) -> Progress:
    """Where a checkpoint stood, once it was checked and put into student and optimiser."""
    progress = check_checkpoint(path, fingerprint="", old=False)
    load_checkpoint(path, student=student, optimizer=optimizer)
    return progress
