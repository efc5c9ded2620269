"""The Monte Carlo estimators of reverse KL, against the enumeration of all tokens."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distillkit.divergences.apart import log_probs
from distillkit.evaluation.estimators import (
    KINDS,
    EstimatorKind,
    centre,
    draw,
    expectation,
    gradient_of_draws,
    outside,
    second_moments,
    squared_gradients,
)
from distillkit.models.head import Head
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import StudentTopK, TeacherTopK
from tests.divergences.cases import Case, gradient, logits, value

TEACHER, STUDENT = logits(5, 7, seed=21), logits(5, 7, seed=22)
K1, K2, K3 = KINDS

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def enumerated(kind: EstimatorKind) -> tuple[Tensor, Tensor]:
    """Mean value, and mean gradient by autograd, of one drawn token; the draw has no gradient."""
    leaf = STUDENT.clone().requires_grad_()
    student = leaf.log_softmax(-1)
    log_r = TEACHER.log_softmax(-1) - student
    q = student.detach().exp()
    # The score function holds the value fixed and moves the token's log-probability.
    loss = kind.value(log_r).detach() * student if kind is K1 else kind.value(log_r)
    (q * loss).sum().backward()
    assert leaf.grad is not None
    return (q * kind.value(log_r).detach()).sum(-1), leaf.grad


@each_kind
def test_the_expectation_is_that_of_every_token_taken_one_by_one(kind: EstimatorKind) -> None:
    teacher, student = log_probs(TEACHER), log_probs(STUDENT)
    found = expectation(kind, teacher, student)
    assert torch.equal(student, log_probs(STUDENT))
    for ours, expected in zip(found, enumerated(kind), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_k1_and_k3_have_the_value_of_reverse_kl_and_k2_has_not() -> None:
    truth = value(Case("reverse_kl"), TEACHER, STUDENT)
    k1, k2, k3 = (expectation(k, log_probs(TEACHER), log_probs(STUDENT))[0] for k in KINDS)
    torch.testing.assert_close(k1, truth)
    torch.testing.assert_close(k3, truth)
    assert ((k2 - truth).abs() > 0.01 * truth).all()


def test_k1_and_k2_have_the_gradient_of_reverse_kl_and_k3_that_of_forward_kl() -> None:
    """Trap 17."""
    k1, k2, k3 = (expectation(k, log_probs(TEACHER), log_probs(STUDENT))[1] for k in KINDS)
    torch.testing.assert_close(k1, gradient(Case("reverse_kl"), TEACHER, STUDENT))
    torch.testing.assert_close(k2, gradient(Case("reverse_kl"), TEACHER, STUDENT))
    torch.testing.assert_close(k3, gradient(Case("forward_kl"), TEACHER, STUDENT))


@each_kind
def test_tokens_that_the_student_never_draws_leave_an_expectation_finite(
    kind: EstimatorKind,
) -> None:
    student = torch.tensor([[0.0, 1.0, -torch.inf, -120.0]])
    found = expectation(kind, log_probs(torch.zeros(1, 4)), log_probs(student))
    assert all(part.isfinite().all() for part in found)


HEADS = {
    "plain": Head(weight=logits(9, 4, seed=1), bias=None, vocabulary=7),
    "all_extras": Head(
        weight=logits(9, 4, seed=1),
        bias=logits(9, seed=2).float().double(),
        vocabulary=7,
        scale=0.7,
        softcap=3.0,
    ),
}


def hidden_and_autograd(head: Head, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states [5, 4], and the gradient by them of the sum of factors * log student."""
    hidden = logits(5, 4, seed=3, spread=0.5).requires_grad_()
    scores = hidden @ head.weight[:7].T + (0 if head.bias is None else head.bias[:7])
    scores = scores * head.scale
    if head.softcap is not None:
        scores = head.softcap * (scores / head.softcap).tanh()
    (factors * scores.log_softmax(-1)).sum().backward()
    assert hidden.grad is not None
    return hidden.detach(), hidden.grad


@pytest.mark.parametrize("name", HEADS)
def test_the_gradient_of_drawn_tokens_is_that_of_autograd_through_the_head(name: str) -> None:
    head, factors = HEADS[name], logits(5, 7, seed=4)
    hidden, expected = hidden_and_autograd(head, factors)
    ready = head.prepared()
    scores = ready.logits(hidden)
    every = torch.arange(7).expand(5, 7)
    middle = centre(ready, scores, log_probs(scores))
    kept = factors.clone(), scores.clone()
    found = gradient_of_draws(
        ready, scores, every, torch.stack([factors, 2 * factors], 1), middle=middle
    )
    torch.testing.assert_close(found[:, 0], expected)
    torch.testing.assert_close(found[:, 1], 2 * expected)
    assert torch.equal(factors, kept[0])
    assert torch.equal(scores, kept[1])


def test_a_head_with_bf16_operands_pulls_with_the_rows_that_it_multiplies() -> None:
    head = HEADS["plain"]
    narrow = replace(head, weight=head.weight.float(), narrow=True).prepared()
    scores = narrow.logits(logits(5, 4, seed=3).float())
    tokens, factors = torch.tensor([[2], [0], [6], [1], [1]]), torch.ones(5, 1, 1)
    found = gradient_of_draws(narrow, scores, tokens, factors, middle=torch.zeros(5, 4))
    assert torch.equal(found[:, 0], head.weight[tokens[:, 0]].bfloat16().float())


@pytest.mark.parametrize("name", HEADS)
@each_kind
def test_second_moments_are_those_of_every_token_taken_one_by_one(
    kind: EstimatorKind, name: str
) -> None:
    ready = HEADS[name].prepared()
    scores = ready.logits(logits(5, 4, seed=3, spread=0.5))
    teacher, student = log_probs(TEACHER), log_probs(scores)
    middle = centre(ready, scores, student)
    log_r = teacher - student
    alone = torch.diag_embed(kind.factor(log_r))
    every = torch.arange(7).expand(5, 7)
    gradients = gradient_of_draws(ready, scores, every, alone, middle=middle)
    rows = ready.weight.square().sum(-1)
    squares = squared_gradients(ready, scores, rows, middle=middle)
    found = second_moments(kind, teacher, student, squares)
    q = student.exp()
    torch.testing.assert_close(found[0], (q * kind.value(log_r).square()).sum(-1))
    torch.testing.assert_close(found[1], (q * gradients.square().sum(-1)).sum(-1))


def test_tokens_are_drawn_with_the_students_probabilities() -> None:
    even = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    student = log_probs(STUDENT)
    drawn = draw(student, even.expand(5, 1, 1000))
    for row, tokens in zip(student.exp(), drawn[:, 0], strict=True):
        counts = torch.bincount(tokens, minlength=7)
        assert (counts - 1000 * row).abs().max() <= 1


def test_a_masked_token_is_never_drawn() -> None:
    student = log_probs(torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]]))
    ends = torch.tensor([0.0, 0.25, 0.5, 1 - 1e-16], dtype=torch.float64)
    drawn = draw(student, ends.expand(1, 1, 4))
    assert set(drawn.flatten().tolist()) == {1, 3}


def test_a_position_draws_the_same_tokens_in_any_company() -> None:
    uniform = torch.rand(5, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    student = log_probs(STUDENT)
    whole = draw(student, uniform)
    for row in range(5):
        part = slice(row, row + 1)
        assert torch.equal(draw(student[part], uniform[part]), whole[part])


def test_the_mass_outside_is_that_of_all_entries_not_chosen() -> None:
    teacher, student = log_probs(TEACHER), log_probs(STUDENT)
    targets = torch.tensor([6, 5, 0, 1, 2])
    for support in (TeacherTopK(k=2), StudentTopK(k=3), Sampled()):
        ids = support.chosen(teacher, student, targets)
        for side, found in zip(
            (teacher, student), outside(support, teacher, student, targets), strict=True
        ):
            torch.testing.assert_close(found, 1 - side.exp().gather(-1, ids).sum(-1))
    assert max(mass.max() for mass in outside(Full(), teacher, student, targets)) == 0
