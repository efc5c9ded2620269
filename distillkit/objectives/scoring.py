"""What the positions of a micro-batch contribute: a comparison with the teacher, a pull, or both.

Both are put together at the student's log-probabilities, so that one projection and one way back
through the softmax serve the two.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.types import PerToken
from distillkit.divergences.base import Divergence, log_probs, through_softmax
from distillkit.objectives.base import Scored, Scorer
from distillkit.objectives.chunked import LossOf, backward_in_chunks, blocks, fused, rows_within
from distillkit.objectives.pulls import Pull
from distillkit.supports.base import Support


class Exact(Protocol):
    """A divergence at every position; see :class:`DivergenceObjective` for the fields."""

    divergence: Divergence
    support: Support
    teacher_temperature: float
    student_temperature: float

    def opinions(self, batch: Scored, teacher: Scorer) -> Tensor:
        """The teacher's hidden states [N, D]."""
        ...


class Pulled(NamedTuple):
    """A pull and its numbers of every packed position [N, K]."""

    pull: Pull
    numbers: Tensor


class Sums(NamedTuple):
    """Over the positions: the weighted divergence, the pull's loss, and how often it was cut."""

    exact: float
    pulled: float
    cut: float


def compare(
    exact: Exact,
    batch: Scored,
    weights: PerToken,
    *,
    student: Scorer,
    teacher: Scorer,
    chunk_mb: int,
    clock: Clock,
    pulled: Pulled | None = None,
) -> Sums:
    """Add the gradient of a weighted divergence, and of a pull if there is one.

    Args:
        exact: the divergence.
        batch: the micro-batch.
        weights: of the divergence at each packed position [N].
        student: learns.
        teacher: is compared with.
        chunk_mb: see :class:`Objective`.
        clock: counts the phases.
        pulled: reads the student at temperature 1, so ``exact`` must too.
    """
    rows = rows_within(chunk_mb, student.head.vocabulary)
    with torch.no_grad(), clock("teacher"):
        opinions = exact.opinions(batch, teacher)
        theirs = teacher.head.prepared()
        room = theirs.room(min(rows, len(opinions)))
    both = fused(_both, opinions.device)
    pull, numbers = pulled or (None, weights[:, None])
    targets = batch.student.targets

    def loss_of(given: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        wanted = theirs.logits(opinions[part], into=room)
        total = weights.new_zeros(3)
        for block in blocks(given):
            where = targets[part][block], weights[part][block], numbers[part][block]
            sums, gradient = both(exact, pull, wanted[block], given[block], *where)
            wanted[block] = gradient  # the teacher's logits have been used: no third buffer
            total += sums
        return total, wanted

    return _sums(loss_of, batch, student, rows=rows, clock=clock)


def pull_tokens(
    pulled: Pulled, batch: Scored, *, student: Scorer, chunk_mb: int, clock: Clock
) -> Sums:
    """Add the gradient of a pull alone."""
    alone = fused(_alone, batch.weights.device)
    pull, numbers = pulled
    targets = batch.student.targets

    def loss_of(given: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        total, gradient = batch.weights.new_zeros(3), torch.empty_like(given)
        for block in blocks(given):
            where = targets[part][block], numbers[part][block]
            sums, gradient[block] = alone(pull, given[block], *where)
            total += sums
        return total, gradient

    rows = rows_within(chunk_mb, student.head.vocabulary)
    return _sums(loss_of, batch, student, rows=rows, clock=clock)


def _sums(loss_of: LossOf, batch: Scored, student: Scorer, *, rows: int, clock: Clock) -> Sums:
    with clock("student"):
        hidden = student.hidden(batch.student)
    return Sums(*backward_in_chunks(hidden, student.head, loss_of, rows=rows, clock=clock))


def _both(
    exact: Exact,
    pull: Pull | None,
    wanted: Tensor,
    given: Tensor,
    targets: Tensor,
    weights: Tensor,
    numbers: Tensor,
) -> tuple[Tensor, Tensor]:
    """The sums [3], and their gradient by the student's logits ``given`` [n, V]."""
    teacher = log_probs(wanted, exact.teacher_temperature)
    student = log_probs(given, exact.student_temperature)
    values, slope = exact.support.slope(exact.divergence, teacher, student, targets)
    slope *= (weights / exact.student_temperature)[:, None]
    loss = (values * weights).sum()
    sums = torch.stack([loss, torch.zeros_like(loss), torch.zeros_like(loss)])
    if pull is not None:
        token = targets[:, None]
        value, push, cut = pull(student.gather(-1, token)[:, 0], numbers)
        slope.scatter_add_(-1, token, push[:, None])
        sums = torch.stack([loss, value, cut.to(loss.dtype)])
    return sums, through_softmax(slope, student)


def _alone(pull: Pull, given: Tensor, targets: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The same without a teacher."""
    student, token = given.log_softmax(-1), targets[:, None]
    likelihood = student.gather(-1, token)
    value, push, cut = pull(likelihood[:, 0], numbers)
    gradient = student.exp_()
    gradient.scatter_add_(-1, token, torch.full_like(likelihood, -1))
    sums = torch.stack([torch.zeros_like(value), value, cut.to(value.dtype)])
    return sums, gradient * -push[:, None]
