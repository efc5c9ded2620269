"""Classical distillation: a share of the divergence, and the rest cross-entropy."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distillkit.core.errors import ConfigError
from distillkit.core.types import Author
from distillkit.divergences.base import Divergence
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.objectives.base import Objective
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.kd import KD
from distillkit.objectives.sft import SFT
from distillkit.policies.fixed import OnPolicy
from distillkit.policies.mixed import Mixed
from distillkit.supports.full import Full
from tests.objectives.tables import PREVIOUS, TARGETS, WEIGHTS, scored, table
from tests.tiny import TableModel


def run(objective: Objective) -> tuple[dict[str, float], Tensor]:
    """What is reported, and the gradient of the student's table, in float64."""
    student, teacher = TableModel(table(2).double()), TableModel(table(1).double())
    batch = replace(scored(teacher), weights=WEIGHTS.double())
    numbers = objective.backward(batch, student=student)
    assert student.weight.grad is not None
    return numbers, student.weight.grad.T


def by_autograd(divergence: Divergence, ratio: float, warmth: float) -> tuple[list[float], Tensor]:
    """The two parts and the gradient of ratio * divergence + (1 - ratio) * cross-entropy."""
    leaf = table(2).double().requires_grad_()
    student = leaf.log_softmax(-1)[PREVIOUS]
    teacher = (table(1).double() / warmth).log_softmax(-1)[PREVIOUS]
    weights = WEIGHTS.double()
    apart = ratio * (weights * divergence(teacher, student)).sum()
    unlikely = -(1 - ratio) * (weights * student[range(len(TARGETS)), TARGETS]).sum()
    (slope,) = torch.autograd.grad(apart + unlikely, leaf)
    return [apart.item(), unlikely.item()], slope


@pytest.mark.parametrize("warmth", [1.0, 2.0])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("divergence", [ForwardKL(), ReverseKL(), JensenShannon(beta=0.2)])
def test_loss_and_gradient_are_the_weighted_sum(
    divergence: Divergence, ratio: float, warmth: float
) -> None:
    kind = KD(divergence=divergence, support=Full(), ratio=ratio, teacher_temperature=warmth)
    numbers, gradient = run(kind)
    parts, wanted = by_autograd(divergence, ratio, warmth)
    assert [numbers["loss/divergence"], numbers["loss/likelihood"]] == pytest.approx(parts)
    assert numbers["loss"] == pytest.approx(sum(parts))
    torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-12)


def test_the_ends_are_cross_entropy_and_the_divergence_alone() -> None:
    fields = {"divergence": ForwardKL(), "support": Full()}
    for ratio, twin in ((0.0, SFT()), (1.0, DivergenceObjective(**fields))):
        (found, gradient), (wanted, exact) = run(KD(ratio=ratio, **fields)), run(twin)
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-12)
        torch.testing.assert_close(gradient, exact, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("authors", [OnPolicy().may_write(), Mixed().may_write(), {Author.mixture}])
def test_text_of_the_student_is_refused(authors: set[Author]) -> None:
    """Trap 29."""
    with pytest.raises(ConfigError, match="objective=kd takes text as true"):
        KD(divergence=ForwardKL(), support=Full()).check_authors(frozenset(authors))
    KD(divergence=ForwardKL(), support=Full()).check_authors(
        frozenset({Author.dataset, Author.teacher})
    )
