"""What the positions of a micro-batch contribute: a comparison with the teacher, a pull, or both.

Both are put together at the student's log-probabilities, so that one projection and one way back
through the softmax serve the two.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.types import PerToken
from distillkit.divergences.apart import Apart
from distillkit.divergences.base import through_softmax
from distillkit.models.likelihood import Scorer, dealt, rows_within, token_odds
from distillkit.objectives.base import Scored
from distillkit.objectives.chunked import LossOf, backward_in_chunks, blocks, fused
from distillkit.objectives.comparison import Comparison
from distillkit.objectives.noise import Noise
from distillkit.objectives.pulls import Pull
from distillkit.opinions.aligned import AlignedOpinion
from distillkit.opinions.base import Heard, Opinion
from distillkit.opinions.matched import MatchedOpinion
from distillkit.supports.aligned import Aligned, Pushed


class Pulled(NamedTuple):
    """A pull, and what it knows of every packed position [N, K]."""

    pull: Pull
    known: Tensor


class LossSums(NamedTuple):
    """Over the positions: the weighted divergence, the pull's loss, and how often it was cut."""

    exact: float
    pulled: float
    cut: float


def compare(
    exact: Comparison,
    batch: Scored,
    weights: PerToken,
    *,
    student: Scorer,
    chunk_mb: int,
    clock: Clock,
    pulled: Pulled | None = None,
) -> LossSums:
    """Add the gradient of a weighted divergence, and of a pull if there is one.

    Args:
        exact: what is compared.
        batch: the micro-batch, with the teacher's opinion.
        weights: of the divergence at each packed position [N].
        student: learns.
        chunk_mb: see :class:`Objective`.
        clock: counts the phases.
        pulled: reads the student at temperature 1, so ``exact`` must too.
    """
    assert batch.opinion is not None
    widest = student.head.vocabulary
    if isinstance(batch.opinion, MatchedOpinion):
        widest = max(widest, batch.opinion.vocabulary)
    rows = dealt(len(weights), rows_within(chunk_mb, widest))
    theirs, hidden, weights = _met(exact, batch, weights, student=student, rows=rows, clock=clock)
    both = fused(_both, batch.weights.device)
    pull, known = pulled or (None, weights[:, None])
    targets = batch.student.targets

    def loss_of(given: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        heard, total = theirs(part), weights.new_zeros(3)
        # Logits of as many ids are used block by block: there is no third buffer.
        fits = isinstance(heard, Tensor) and heard.shape == given.shape
        gradient = heard if isinstance(heard, Tensor) and fits else torch.empty_like(given)
        for block in blocks(given):
            said = heard[block] if isinstance(heard, Tensor) else heard.part(block)
            where = targets[part][block], weights[part][block], known[part][block]
            sums, gradient[block] = both(exact, pull, said, given[block], *where)
            total += sums
        return total, gradient

    return _sums(loss_of, hidden, student, rows=rows, clock=clock)


def pull_tokens(
    pulled: Pulled, batch: Scored, *, student: Scorer, chunk_mb: int, clock: Clock
) -> LossSums:
    """Add the gradient of a pull alone."""
    alone = fused(_alone, batch.weights.device)
    pull, known = pulled
    targets = batch.student.targets

    def loss_of(given: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        total, gradient = batch.weights.new_zeros(3), torch.empty_like(given)
        for block in blocks(given):
            where = targets[part][block], known[part][block]
            sums, gradient[block] = alone(pull, given[block], *where)
            total += sums
        return total, gradient

    hidden = _read(batch, student, clock)
    rows = dealt(len(hidden), rows_within(chunk_mb, student.head.vocabulary))
    return _sums(loss_of, hidden, student, rows=rows, clock=clock)


def _met(
    exact: Comparison,
    batch: Scored,
    weights: PerToken,
    *,
    student: Scorer,
    rows: int,
    clock: Clock,
) -> tuple[Callable[[slice], Heard | Pushed], Tensor, PerToken]:
    """What is heard of the teacher, the student's states, and the weights of what is compared."""
    assert batch.opinion is not None
    opinion = exact.heard(batch.opinion)
    theirs: Callable[[slice], Heard | Pushed]
    if isinstance(opinion, AlignedOpinion):
        hidden = _read(batch, student, clock)
        with torch.no_grad(), clock("loss"):
            theirs = _pushed(exact, opinion, hidden, batch, student, rows).part
            weights = opinion.chunks.weights(weights)
    else:
        with torch.no_grad(), clock("teacher"):
            theirs = _opened(opinion, batch.noise, rows)
        hidden = _read(batch, student, clock)
    if isinstance(opinion, MatchedOpinion):
        weights = weights * opinion.matched
    return theirs, hidden, weights


def _opened(opinion: Opinion, noise: Noise | None, rows: int) -> Callable[[slice], Heard]:
    told = opinion.opened(rows)
    return told if noise is None else noise.on(told)


def _read(batch: Scored, student: Scorer, clock: Clock) -> Tensor:
    """The student's last hidden states at the packed positions [N, D]."""
    with clock("student"):
        return student.hidden(batch.student)


def _pushed(
    exact: Comparison,
    opinion: AlignedOpinion,
    hidden: Tensor,
    batch: Scored,
    student: Scorer,
    rows: int,
) -> Pushed:
    """What comparing chunks does to each position: they reach over positions, so all come first."""
    assert isinstance(exact.support, Aligned)
    ours = token_odds(
        hidden,
        batch.student.targets,
        student.head,
        rows=rows,
        temperature=exact.student_temperature,
    )
    return exact.support.pushed(exact.divergence, opinion.chunks, ours)


def _sums(loss_of: LossOf, hidden: Tensor, student: Scorer, *, rows: int, clock: Clock) -> LossSums:
    return LossSums(*backward_in_chunks(hidden, student.head, loss_of, rows=rows, clock=clock))


def _both(
    exact: Comparison,
    pull: Pull | None,
    heard: Heard | Pushed,
    given: Tensor,
    targets: Tensor,
    weights: Tensor,
    known: Tensor,
) -> tuple[Tensor, Tensor]:
    """The sums [3], and their gradient by the student's logits ``given`` [n, V]."""
    student = Apart.of(given, exact.student_temperature)
    values, slope = exact.slope(heard, student, targets)
    slope *= (weights / exact.student_temperature)[:, None]
    loss = (values * weights).sum()
    sums = torch.stack([loss, torch.zeros_like(loss), torch.zeros_like(loss)])
    if pull is not None:
        token = targets[:, None]
        value, push, cut = pull(student.at(token)[:, 0], known)
        slope.scatter_add_(-1, token, push[:, None])
        sums = torch.stack([loss, value, cut.to(loss.dtype)])
    return sums, through_softmax(slope, student)


def _alone(pull: Pull, given: Tensor, targets: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The same without a teacher."""
    student, token = Apart.of(given), targets[:, None]
    likelihood = student.at(token)
    value, push, cut = pull(likelihood[:, 0], known)
    gradient = student.probabilities
    gradient.scatter_add_(-1, token, torch.full_like(likelihood, -1))
    sums = torch.stack([torch.zeros_like(value), value, cut.to(value.dtype)])
    return sums, gradient * -push[:, None]
