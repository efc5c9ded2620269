"""The loss layer of each library: heads, JSD(0.5) and gradients, from given hidden states."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.core.types import Batch
from distillkit.divergences.adaptive import AdaptiveKL
from distillkit.divergences.base import Divergence
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.divergences.skew import SkewForwardKL, SkewReverseKL
from distillkit.divergences.tvd import TotalVariation
from distillkit.models.head import Head
from distillkit.objectives.base import Scored
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.opinions.states import StatesOpinion
from distillkit.supports.full import Full

BETA = 0.5
SPREAD = 2.5
"""Standard deviation of the logits, about that of a trained model."""

DIVERGENCES: dict[str, Divergence] = {
    "jsd": JensenShannon(beta=BETA),
    "forward_kl": ForwardKL(),
    "reverse_kl": ReverseKL(),
    "skew_forward_kl": SkewForwardKL(),
    "skew_reverse_kl": SkewReverseKL(),
    "tvd": TotalVariation(),
    "adaptive": AdaptiveKL(),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one problem; Qwen2.5's 0.5B student and 1.5B teacher unless said otherwise."""

    positions: int = 512
    vocabulary: int = 151_936
    student: int = 896
    teacher: int = 1536

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the gradients that every contender returns."""
        return 4 * self.student * (self.positions + self.vocabulary)


TINY = Shape(positions=48, vocabulary=640, student=16, teacher=24)
FULL = Shape()
MEMORY_RUNS = 1


class Side:
    """One model as the objective sees it: hidden states that are given, and a head."""

    def __init__(self, states: Tensor, weight: Tensor) -> None:
        self.states, self.weight = states, weight
        self.head = Head(weight=weight, bias=None, vocabulary=len(weight))

    def hidden(self, batch: Batch) -> Tensor:
        """The given states [N, D]."""
        return self.states


class Problem:
    """Random hidden states and heads of both sides, and the gradients left on the student's."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        generator = torch.Generator().manual_seed(0)

        def side(width: int, *, learns: bool) -> Side:
            states = torch.randn(shape.positions, width, generator=generator)
            weight = torch.empty(shape.vocabulary, width).normal_(generator=generator)
            weight *= SPREAD / width**0.5
            return Side(*(nn.Parameter(part, requires_grad=learns) for part in (states, weight)))

        self.student = side(shape.student, learns=True)
        self.teacher = side(shape.teacher, learns=False)
        self.targets = torch.randint(shape.vocabulary, (shape.positions,), generator=generator)

    def forget(self) -> None:
        """Drop the gradients."""
        self.student.states.grad = self.student.weight.grad = None

    def batch(self) -> Scored:
        """One row of targets after a prompt of one token, the loss their mean."""
        count = self.shape.positions
        tokens = torch.cat([torch.zeros(1, dtype=torch.long), self.targets])[None]
        columns = torch.arange(count)
        text = Batch(
            tokens, torch.ones_like(tokens), torch.zeros_like(columns), columns, self.targets
        )
        opinion = StatesOpinion(self.teacher.states, self.targets, self.teacher)
        return Scored(text, torch.full((count,), 1 / count), opinion=opinion)


def ours(problem: Problem, divergence: str = "jsd") -> Callable[[], float]:
    """distillkit's objective."""
    objective = DivergenceObjective(support=Full(), divergence=DIVERGENCES[divergence])
    step = partial(objective.backward, problem.batch(), student=problem.student)
    return lambda: step()["loss"]


def trl(problem: Problem) -> Callable[[], float]:
    """The loss of TRL's DistillationTrainer, called as its ``_compute_loss`` calls it."""
    from trl.trainer.distillation_trainer import _chunked_divergence_loss

    student, teacher = problem.student, problem.teacher
    mask = torch.ones(1, problem.shape.positions, dtype=torch.long)

    def run() -> float:
        loss, _, _ = _chunked_divergence_loss(
            student.states[None],
            teacher.states[None],
            student.weight,
            teacher.weight,
            mask,
            BETA,
            num_items_in_batch=mask.sum(),
        )
        loss.backward()
        return loss.item()

    return run


def liger(problem: Problem) -> Callable[[], float]:
    """Liger's chunked JSD, compiled as it is by default; plain torch, so it runs on a CPU."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    student, teacher = problem.student, problem.teacher
    layer = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=BETA)

    def run() -> float:
        loss = layer(
            student.states, student.weight, teacher.states, teacher.weight, problem.targets
        )
        loss.backward()
        return loss.item()

    return run


PRODUCT_TILE = 4096
"""Vocabulary entries at a time; 1,024 to 8,192 took about the same, 32,768 slightly longer."""


def products(problem: Problem) -> Callable[[], float]:
    """No loss at all: the four matrix products that every exact one must do, with their memory."""
    student, teacher, shape = problem.student, problem.teacher, problem.shape
    tile = min(PRODUCT_TILE, shape.vocabulary)

    @torch.no_grad()
    def run() -> float:
        buffers = [torch.empty(shape.positions, tile) for _ in range(2)]
        hidden_gradient = torch.zeros_like(student.states)
        weight_gradient = torch.empty_like(student.weight)
        for start in range(0, shape.vocabulary, tile):
            part = slice(start, min(start + tile, shape.vocabulary))
            ours, theirs = (buffer[:, : part.stop - start] for buffer in buffers)
            torch.mm(student.states, student.weight[part].T, out=ours)
            torch.mm(teacher.states, teacher.weight[part].T, out=theirs)
            hidden_gradient.addmm_(ours, student.weight[part])
            torch.mm(ours.T, student.states, out=weight_gradient[part])
        student.states.grad, student.weight.grad = hidden_gradient, weight_gradient
        return 0.0

    return run


CONTENDERS: dict[str, Callable[[Problem], Callable[[], float]]] = {
    "ours": ours,
    "trl": trl,
    "liger": liger,
    "products": products,
}


def timed(problem: Problem, run: Callable[[], Any]) -> Callable[[], float]:
    """Seconds of a run that begins without gradients."""

    def once() -> float:
        problem.forget()
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return once


@cache
def problem_of(shape: Shape) -> Problem:
    """The one problem of a shape, which all contenders of a process share."""
    return Problem(shape)


@contextmanager
def built(name: str, shape: Shape) -> Iterator[Callable[[], float]]:
    """One contender; it says its seconds when called."""
    problem = problem_of(shape)
    yield timed(problem, CONTENDERS[name](problem))


def oracle(problem: Problem) -> dict[str, Tensor]:
    """The loss and its gradients by dense float64."""
    student, teacher = problem.student, problem.teacher
    states, weight = (
        part.detach().double().requires_grad_() for part in (student.states, student.weight)
    )
    theirs = (teacher.states.double() @ teacher.weight.double().T).log_softmax(-1)
    mine = (states @ weight.T).log_softmax(-1)
    mixture = (BETA * theirs.exp() + (1 - BETA) * mine.exp()).log()
    loss = (
        (BETA * theirs.exp() * (theirs - mixture) + (1 - BETA) * mine.exp() * (mine - mixture))
        .sum(-1)
        .mean()
    )
    hidden_gradient, weight_gradient = torch.autograd.grad(loss, (states, weight))
    return {
        "loss": loss.detach(),
        "hidden_gradient": hidden_gradient,
        "weight_gradient": weight_gradient,
    }


def errors(name: str, problem: Problem, exact: dict[str, Tensor]) -> dict[str, float]:
    """How far a contender's loss and gradients are from the exact ones, over their size."""
    problem.forget()
    loss = CONTENDERS[name](problem)()
    student = problem.student
    found = {
        "loss": torch.tensor(loss, dtype=torch.float64),
        "hidden_gradient": student.states.grad,
        "weight_gradient": student.weight.grad,
    }
    return {
        key: ((found[key].double() - value).norm() / value.norm()).item()
        for key, value in exact.items()
    }
