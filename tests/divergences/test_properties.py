"""What must hold for every registered divergence, whatever the two distributions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distillkit.divergences.apart import FLOOR, log_probs
from distillkit.divergences.base import over_mixture

from . import oracle
from .cases import (
    CASES,
    F_DIVERGENCES,
    TOLERANCE,
    Case,
    gradient,
    logits,
    relative_error,
    to_numpy,
    value,
)

NEGATIVE = -1e-6
"""What rounding in fp32 may do to a number that is never negative."""

every_case = pytest.mark.parametrize("case", CASES, ids=str)
a_few = settings(max_examples=10, deadline=None, derandomize=True)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Teacher and student logits: from nearly equal to far apart, flat to peaked, with ties."""
    seed = draw(st.integers(0, 2**31))
    entries = draw(st.sampled_from([2, 3, 17, 200]))
    teacher = logits(4, entries, seed=seed, spread=draw(st.sampled_from([0.1, 2.0, 10.0, 100.0])))
    noise = logits(4, entries, seed=seed + 1, spread=draw(st.sampled_from([0.01, 1.0, 10.0])))
    student = teacher + noise if draw(st.booleans()) else 3 * noise
    if draw(st.booleans()):
        teacher = teacher.round()
    return teacher, student


@every_case
@given(pair=pairs())
@a_few
def test_no_divergence_is_negative(case: Case, pair: tuple[Tensor, Tensor]) -> None:
    teacher, student = pair
    assert value(case, teacher.float(), student.float()).min() >= NEGATIVE
    assert value(case, teacher, student).min() >= NEGATIVE * 1e-6


@every_case
@given(seed=st.integers(0, 2**31))
@a_few
def test_no_divergence_is_negative_with_a_bf16_teacher_beside_an_fp32_student(
    case: Case, seed: int
) -> None:
    # ms-swift #10156: a student that agrees up to the teacher's rounding had a negative JSD.
    student = logits(8, 500, seed=seed, spread=3.0).float()
    assert value(case, student.bfloat16(), student).min() >= NEGATIVE


@every_case
@given(pair=pairs())
@a_few
def test_equal_distributions_are_at_zero_with_no_gradient(
    case: Case, pair: tuple[Tensor, Tensor]
) -> None:
    same, _ = pair
    for logits_ in (same, same.float(), same.bfloat16()):
        assert value(case, logits_, logits_.clone()).abs().max() <= -NEGATIVE
        assert gradient(case, logits_.float(), logits_.float()).abs().max() <= -NEGATIVE


@every_case
@given(pair=pairs(), shift=st.floats(-50, 50))
@a_few
def test_a_constant_added_to_the_logits_changes_nothing(
    case: Case, pair: tuple[Tensor, Tensor], shift: float
) -> None:
    teacher, student = pair
    moved = value(case, teacher + shift, student - shift / 3)
    torch.testing.assert_close(moved, value(case, teacher, student), rtol=1e-9, atol=1e-12)


@every_case
@given(pair=pairs(), seed=st.integers(0, 2**31))
@a_few
def test_the_order_of_the_vocabulary_changes_nothing(
    case: Case, pair: tuple[Tensor, Tensor], seed: int
) -> None:
    teacher, student = pair
    order = torch.randperm(teacher.shape[1], generator=torch.Generator().manual_seed(seed))
    shuffled = value(case, teacher[:, order], student[:, order])
    torch.testing.assert_close(shuffled, value(case, teacher, student), rtol=1e-9, atol=1e-12)
    slopes = gradient(case, teacher[:, order], student[:, order])
    expected = gradient(case, teacher, student)[:, order]
    torch.testing.assert_close(slopes, expected, rtol=1e-9, atol=1e-12)


def test_adaptive_kl_does_not_depend_on_the_order_of_tied_entries() -> None:
    # Teacher 0.27 0.22 0.22 0.22 0.08: by rank one of the three ties, any, would be head.
    teacher = torch.tensor([[1.2, 1.0, 1.0, 1.0, 0.0]])
    student = torch.tensor([[1.0, 3.0, -2.0, -1.0, 0.5]])
    orders = torch.tensor([[0, 1, 2, 3, 4], [0, 2, 1, 3, 4], [0, 1, 3, 2, 4], [0, 3, 2, 1, 4]])
    values = value(Case("adaptive"), teacher.expand(4, -1), student[0, orders])
    torch.testing.assert_close(values, values[:1].expand(4))


@pytest.mark.parametrize("case", F_DIVERGENCES, ids=str)
@given(pair=pairs(), kept=st.integers(0, 16))
@a_few
def test_merging_entries_into_one_bucket_never_raises_an_f_divergence(
    case: Case, pair: tuple[Tensor, Tensor], kept: int
) -> None:
    # verl #7856: top-k without a bucket for the rest goes negative; with one it is a lower bound.
    divergence = case.build()
    teacher, student = (log_probs(side) for side in pair)
    top = teacher.topk(min(kept, teacher.shape[1] - 1)).indices
    merged = divergence(_merge_rest(teacher, top), _merge_rest(student, top))
    whole = divergence(teacher, student)
    assert (merged <= whole * (1 + 1e-9) + 1e-12).all()
    assert (merged >= NEGATIVE * 1e-6).all()


def _merge_rest(side: Tensor, kept: Tensor) -> Tensor:
    rest = side.scatter(-1, kept, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([side.gather(-1, kept), rest], dim=-1)


@every_case
@given(pair=pairs())
@a_few
def test_the_slope_is_the_derivative_of_the_value(case: Case, pair: tuple[Tensor, Tensor]) -> None:
    teacher, student = pair
    leaf = student.clone().requires_grad_()
    values = value(case, teacher, leaf)
    (expected,) = torch.autograd.grad(values.sum(), leaf)
    found, _ = case.build().slope(log_probs(teacher), log_probs(student))
    torch.testing.assert_close(found, values.detach(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient(case, teacher, student), expected, rtol=1e-8, atol=1e-11)


@every_case
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("masked", ["teacher", "student", "both", "each its own"])
def test_masked_entries_give_finite_values_and_gradients(
    case: Case, dtype: torch.dtype, masked: str
) -> None:
    teacher, student = logits(5, 12, seed=8).to(dtype), logits(5, 12, seed=9).to(dtype)
    if masked in ("teacher", "both", "each its own"):
        teacher[:, 2:5] = -torch.inf
    if masked in ("student", "both"):
        student[:, 2:5] = -torch.inf
    if masked == "each its own":
        student[:, 4:7] = -torch.inf
    values, slopes = value(case, teacher, student), gradient(case, teacher, student)
    assert values.isfinite().all()
    assert slopes.isfinite().all()
    assert (slopes[student.isinf()] == 0).all()
    truth = oracle.value(case.name, to_numpy(teacher), to_numpy(student), **case.settings)
    if np.isfinite(truth).all():
        assert relative_error(values, truth) < TOLERANCE[dtype]
        slopes_truth = oracle.gradient(
            case.name, to_numpy(teacher), to_numpy(student), **case.settings
        )
        assert relative_error(slopes, slopes_truth) < TOLERANCE[dtype]
    else:
        assert (values > 1e20).all(), "an infinite divergence must stay a large number"


@every_case
@given(seed=st.integers(0, 2**31))
@a_few
def test_logits_300_apart_give_finite_values_and_gradients(case: Case, seed: int) -> None:
    teacher = 300 * logits(4, 30, seed=seed).sign().float()
    student = 300 * torch.tanh(logits(4, 30, seed=seed + 1)).float()
    assert value(case, teacher, student).isfinite().all()
    assert value(case, teacher, student).min() >= NEGATIVE
    assert gradient(case, teacher, student).isfinite().all()
    assert gradient(case, student, teacher).isfinite().all()


def test_log_probs_are_floored_where_logits_are_masked() -> None:
    floored = log_probs(torch.tensor([[0.0, -torch.inf]]))
    assert torch.equal(floored, torch.tensor([[0.0, FLOOR]]))


def test_the_ratio_to_a_mixture_is_exact_at_the_ends_and_where_entries_are_masked() -> None:
    masked = log_probs(torch.tensor([[0.0, -torch.inf]]))
    bare = log_probs(torch.tensor([[0.5, 0.5]]))
    for weight in (0.3, 1 - 1e-9):
        found = over_mixture(masked, masked, weight=weight)
        torch.testing.assert_close(found, torch.zeros(1, 2), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        over_mixture(bare, masked, weight=0.25)[0, 1].exp(), torch.tensor(4.0)
    )
    assert torch.equal(over_mixture(bare, masked, weight=0), bare - masked)
    assert torch.equal(over_mixture(bare, masked, weight=1), torch.zeros(1, 2))


def test_a_small_gap_in_a_large_vocabulary_keeps_its_digits_in_fp32() -> None:
    student = logits(4, 20_000, seed=3)
    teacher = student + 1e-2 * logits(4, 20_000, seed=4)
    for name in ("jsd", "skew_forward_kl", "skew_reverse_kl"):
        case = Case(name)
        truth = to_numpy(gradient(case, teacher, student))
        found = gradient(case, teacher.float(), student.float())
        error = np.linalg.norm(to_numpy(found) - truth) / np.linalg.norm(truth)
        assert error < 1e-4, name
