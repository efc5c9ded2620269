"""Entries that are drawn: right in expectation, and never all in the same direction."""

import pytest
import torch
from torch import Tensor

from distillkit.core.errors import ConfigError
from distillkit.divergences.apart import log_probs
from distillkit.divergences.base import through_softmax
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.divergences.tvd import TotalVariation
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.supports.base import Drawn
from distillkit.supports.draws import Draws

TIMES = 10_000


def distributions(rows: int, vocabulary: int = 40) -> tuple[Tensor, Tensor]:
    """A teacher's and a student's log-probabilities, some of the teacher's tiny."""
    torch.manual_seed(3)
    return (
        log_probs(3 * torch.randn(rows, vocabulary, dtype=torch.float64)),
        log_probs(torch.randn(rows, vocabulary, dtype=torch.float64)),
    )


def learnt(support: Draws, told: Drawn, student: Tensor) -> tuple[Tensor, Tensor]:
    """The value at each position, and the gradient by the student's logits."""
    targets = torch.zeros(len(student), dtype=torch.long)
    values, slope = support.slope(ForwardKL(), told, student, targets)
    return values, through_softmax(slope, student.clone())


@pytest.mark.parametrize("stratified", [True, False])
@pytest.mark.parametrize(("k", "draws"), [(0, 5), (4, 3), (16, 8)])
def test_gradient_and_value_are_right_in_expectation(k: int, draws: int, stratified: bool) -> None:
    """Every coordinate within five standard errors of the truth, over ten thousand draws.

    An entry counts ``weight`` whenever it is drawn, so the variance is at most its probability
    times that; the second term is Bernstein's, for entries that are hardly ever drawn.
    """
    support = Draws(k=k, draws=draws, stratified=stratified)
    teacher, student = distributions(1)
    many, again = teacher.expand(TIMES, -1), student.expand(TIMES, -1)
    told = support.told(
        many, torch.zeros(TIMES, dtype=torch.long), torch.Generator().manual_seed(1)
    )
    values, gradients = learnt(support, told, again)
    weight = told.log_weights[0, -1].double().exp()
    p = teacher.exp().flatten()
    allowed = 5 * (p * weight / TIMES).sqrt() + 5 * weight / TIMES + 1e-6
    assert ((gradients.mean(0) - (student.exp() - teacher.exp()).flatten()).abs() <= allowed).all()
    truth = (teacher.exp() * (teacher - student)).sum()
    assert (values.mean() - truth).abs() <= 5 * values.std() / TIMES**0.5 + 1e-6
    torch.testing.assert_close(
        told.log_weights.double().exp().sum(-1),
        torch.ones(TIMES, dtype=torch.float64),
        rtol=1e-6,
        atol=0,
    )


def test_a_truncated_teacher_is_not() -> None:
    """The same bound does see a bias: what the likeliest entries leave out."""
    support = Draws(k=16, draws=8)
    teacher, student = distributions(1)
    told = support.told(teacher, torch.zeros(1, dtype=torch.long))
    cut = Drawn(told.ids[:, :16], told.log_weights[:, :16].log_softmax(-1), told.entropy)
    _, gradient = learnt(support, cut, student)
    assert (gradient - (student.exp() - teacher.exp())).abs().max() > 1e-3


def test_strata_are_less_noisy_than_draws_from_all() -> None:
    teacher, student = distributions(1)
    spread = {}
    for stratified in (True, False):
        support = Draws(k=4, draws=8, stratified=stratified)
        many, again = teacher.expand(TIMES, -1), student.expand(TIMES, -1)
        where = torch.zeros(TIMES, dtype=torch.long)
        told = support.told(many, where, torch.Generator().manual_seed(2))
        spread[stratified] = learnt(support, told, again)[1].var(0).sum()
    assert spread[True] < 0.9 * spread[False]


def test_more_draws_than_entries_and_a_teacher_that_is_sure() -> None:
    support = Draws(k=64, draws=3)
    _, student = distributions(2)
    sure = torch.full((2, 40), -torch.inf, dtype=torch.float64)
    sure[:, 7] = 0.0
    told = support.told(log_probs(sure), torch.zeros(2, dtype=torch.long))
    values, gradient = learnt(support, told, student)
    torch.testing.assert_close(values, -student[:, 7])
    assert gradient.isfinite().all()


@pytest.mark.parametrize("divergence", [ReverseKL(), JensenShannon(beta=0.5), TotalVariation()])
def test_what_is_not_linear_in_the_teacher_is_refused(divergence: object) -> None:
    with pytest.raises(ConfigError, match="is not linear in the teacher"):
        DivergenceObjective(divergence=divergence, support=Draws())  # type: ignore[arg-type]


def test_draws_are_the_row_s_own() -> None:
    teacher, _ = distributions(3)
    support, where = Draws(k=2, draws=4), torch.zeros(3, dtype=torch.long)
    one, same, other = (
        support.told(teacher, where, torch.Generator().manual_seed(seed)).ids for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
