"""Values and gradients of every divergence, against the oracle and against hand arithmetic."""

from math import log

import numpy as np
import pytest
import torch

from distillkit.core.errors import ConfigError
from distillkit.divergences.apart import log_probs

from . import oracle
from .cases import (
    CASES,
    F_DIVERGENCES,
    REGISTERED,
    TOLERANCE,
    Case,
    gradient,
    logits,
    probs,
    relative_error,
    to_numpy,
    value,
)

TEACHER = probs(0.75, 0.25)
STUDENT = probs(0.5, 0.5)

every_case = pytest.mark.parametrize("case", CASES, ids=str)
both_precisions = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def test_every_registered_divergence_has_an_oracle() -> None:
    assert set(REGISTERED) == set(oracle.ORACLES)


@pytest.mark.parametrize("case", F_DIVERGENCES, ids=str)
def test_the_oracles_gradient_agrees_with_its_finite_differences(case: Case) -> None:
    # Not adaptive KL: its weights take no gradient, so differences see more than training does.
    teacher, student = logits(3, 6, seed=1).numpy(), logits(3, 6, seed=2).numpy()
    by_hand = oracle.gradient(case.name, teacher, student, **case.settings)
    by_differences = oracle.slope_by_differences(case.name, teacher, student, **case.settings)
    np.testing.assert_allclose(by_hand, by_differences, rtol=0, atol=1e-8)


@every_case
@both_precisions
def test_value_and_gradient_equal_the_oracle(case: Case, dtype: torch.dtype) -> None:
    teacher, student = logits(16, 50, seed=3).to(dtype), logits(16, 50, seed=4).to(dtype)
    p, q = to_numpy(teacher), to_numpy(student)
    values, slopes = value(case, teacher, student), gradient(case, teacher, student)
    assert values.dtype == slopes.dtype == dtype
    assert values.shape == (16,)
    assert relative_error(values, oracle.value(case.name, p, q, **case.settings)) < TOLERANCE[dtype]
    truth = oracle.gradient(case.name, p, q, **case.settings)
    assert relative_error(slopes, truth) < TOLERANCE[dtype]


@every_case
@both_precisions
def test_value_and_gradient_equal_the_oracle_where_probabilities_underflow(
    case: Case, dtype: torch.dtype
) -> None:
    # Liger-Kernel #769, #1453: below e**-104 an fp32 probability is zero, its log is not.
    teacher = torch.linspace(-300, 300, 24, dtype=dtype).repeat(4, 1)
    student = torch.stack([teacher[0].roll(shift) for shift in (1, 5, 12, 23)])
    p, q = to_numpy(teacher), to_numpy(student)
    values, slopes = value(case, teacher, student), gradient(case, teacher, student)
    assert relative_error(values, oracle.value(case.name, p, q, **case.settings)) < TOLERANCE[dtype]
    truth = oracle.gradient(case.name, p, q, **case.settings)
    assert np.isfinite(truth).all()
    assert np.abs(to_numpy(slopes) - truth).max() < TOLERANCE[dtype] * max(1, np.abs(truth).max())


def test_log_probs_divides_the_logits_by_the_temperature() -> None:
    halved = log_probs(torch.tensor([[0.0, 2 * log(3)]]), temperature=2.0)
    torch.testing.assert_close(halved.exp(), torch.tensor([[0.25, 0.75]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_log_probs_widens_half_precision_before_the_softmax(dtype: torch.dtype) -> None:
    narrow = logits(4, 100, seed=5).to(dtype)
    assert torch.equal(log_probs(narrow), log_probs(narrow.float()))


def test_forward_kl_is_the_teachers_expectation() -> None:
    # 3/4 log(3/4 : 1/2) + 1/4 log(1/4 : 1/2) = 0.130812...; the reverse would be 0.143841.
    by_hand = 0.75 * log(1.5) + 0.25 * log(0.5)
    assert value(Case("forward_kl"), TEACHER, STUDENT).item() == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(0.130812, abs=1e-6)


def test_reverse_kl_is_the_students_expectation() -> None:
    # 1/2 log(1/2 : 3/4) + 1/2 log(1/2 : 1/4) = 0.143841...
    by_hand = 0.5 * log(2 / 3) + 0.5 * log(2)
    assert value(Case("reverse_kl"), TEACHER, STUDENT).item() == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(0.143841, abs=1e-6)


def test_total_variation_is_half_the_sum_of_absolute_differences() -> None:
    # (|0.7 - 0.2| + |0.2 - 0.5| + |0.1 - 0.3|) / 2 = (0.5 + 0.3 + 0.2) / 2
    teacher, student = probs(0.7, 0.2, 0.1), probs(0.2, 0.5, 0.3)
    assert value(Case("tvd"), teacher, student).item() == pytest.approx(0.5, rel=1e-12)


def test_total_variation_of_disjoint_supports_is_one() -> None:
    assert value(Case("tvd"), probs(0.4, 0.6, 0), probs(0, 0, 1)).item() == pytest.approx(1)


def test_skew_forward_kl_puts_the_small_weight_on_the_teacher() -> None:
    # Mixture 0.1 (3/4, 1/4) + 0.9 (1/2, 1/2) = (0.525, 0.475); swapped it would be (0.725, 0.275).
    by_hand = 0.75 * log(0.75 / 0.525) + 0.25 * log(0.25 / 0.475)
    case = Case("skew_forward_kl", {"alpha": 0.1})
    assert value(case, TEACHER, STUDENT).item() == pytest.approx(by_hand, rel=1e-12)


def test_skew_reverse_kl_puts_the_small_weight_on_the_student() -> None:
    # Mixture 0.9 (3/4, 1/4) + 0.1 (1/2, 1/2) = (0.725, 0.275); swapped it would be (0.525, 0.475).
    by_hand = 0.5 * log(0.5 / 0.725) + 0.5 * log(0.5 / 0.275)
    case = Case("skew_reverse_kl", {"alpha": 0.1})
    assert value(case, TEACHER, STUDENT).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("direction", ["forward_kl", "reverse_kl"])
def test_skew_with_alpha_zero_is_the_plain_kl(direction: str) -> None:
    teacher, student = logits(8, 20, seed=6), logits(8, 20, seed=7)
    skewed = value(Case(f"skew_{direction}", {"alpha": 0.0}), teacher, student)
    torch.testing.assert_close(skewed, value(Case(direction), teacher, student))


@pytest.mark.parametrize("name", ["skew_forward_kl", "skew_reverse_kl"])
@pytest.mark.parametrize("alpha", [-0.1, 1.0, float("nan")])
def test_skew_refuses_an_alpha_outside_its_range(name: str, alpha: float) -> None:
    with pytest.raises(ConfigError, match=r"divergence\.alpha"):
        Case(name, {"alpha": alpha}).build()


@pytest.mark.parametrize(("head_mass", "head_share"), [(0.5, 0.4), (0.8, 0.6)])
def test_adaptive_kl_weighs_by_the_gap_over_the_teachers_head(
    head_mass: float, head_share: float
) -> None:
    # Teacher 0.05 0.45 0.20 0.30, student 0.20 0.25 0.15 0.40, gap 0.15 0.20 0.05 0.10, sum 0.5.
    # Likeliest first the teacher is entry 1 (0.45), entry 3 (0.75 so far), entry 2, entry 0.
    # Mark 0.5: the head is entry 1, its share of the gap 0.20 / 0.5 = 0.4.
    # Mark 0.8: the head is entries 1 and 3, their share (0.20 + 0.10) / 0.5 = 0.6.
    # A mask in sorted order on the unsorted gap (TAID's code) gives 0.15 / 0.5 = 0.3 for the
    # first and (0.15 + 0.20) / 0.5 = 0.7 for the second.
    teacher, student = probs(0.05, 0.45, 0.20, 0.30), probs(0.20, 0.25, 0.15, 0.40)
    forward = 0.05 * log(1 / 4) + 0.45 * log(9 / 5) + 0.20 * log(4 / 3) + 0.30 * log(3 / 4)
    reverse = 0.20 * log(4) + 0.25 * log(5 / 9) + 0.15 * log(3 / 4) + 0.40 * log(4 / 3)
    by_hand = head_share * forward + (1 - head_share) * reverse
    case = Case("adaptive", {"head_mass": head_mass})
    assert value(case, teacher, student).item() == pytest.approx(by_hand, rel=1e-12)


def test_adaptive_kl_counts_the_likeliest_entry_as_head_even_beyond_the_mark() -> None:
    # Gap 0.3 0.1 0.2, of which the head, entry 0 with 0.7 > 0.5, holds 0.3 / 0.6.
    teacher, student = probs(0.7, 0.2, 0.1), probs(0.4, 0.3, 0.3)
    halves = [value(Case(name), teacher, student).item() for name in ("forward_kl", "reverse_kl")]
    ours = value(Case("adaptive"), teacher, student).item()
    assert ours == pytest.approx(sum(halves) / 2, rel=1e-12)


@pytest.mark.parametrize("head_mass", [0.0, 1.0, 1.5, float("nan")])
def test_adaptive_kl_refuses_a_head_without_or_with_all_mass(head_mass: float) -> None:
    with pytest.raises(ConfigError, match=r"divergence\.head_mass"):
        Case("adaptive", {"head_mass": head_mass}).build()
