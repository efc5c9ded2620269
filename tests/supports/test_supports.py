"""Merged supports: bounds that keep sight of all mass, with exact gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from distillkit.core.errors import ConfigError
from distillkit.divergences.apart import FLOOR, log_probs
from distillkit.divergences.base import through_softmax
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.supports.base import Support
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import StudentTopK, TeacherTopK
from tests.divergences.cases import CASES, F_DIVERGENCES, Case, logits
from tests.divergences.test_properties import NEGATIVE, a_few, pairs

MERGED = [TeacherTopK(k=1), TeacherTopK(k=5), StudentTopK(k=3), Sampled()]

each_support = pytest.mark.parametrize("support", MERGED, ids=str)


def slope(
    support: Support, case: Case, teacher: Tensor, student: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Values [N] and their derivative by the student's logits [N, V]."""
    ours = log_probs(student)
    values, slopes = support.slope(case.build(), log_probs(teacher), ours, targets)
    return values, through_softmax(slopes.clone(), ours)


def dense(support: Support, case: Case, teacher: Tensor, student: Tensor, targets: Tensor):
    """The same with the entries merged one by one and the derivative by autograd."""
    leaf = student.clone().requires_grad_()
    p, q = teacher.softmax(-1), leaf.softmax(-1)
    values = []
    for row, ids in enumerate(support.chosen(log_probs(teacher), log_probs(student), targets)):
        rest = [entry for entry in range(p.shape[1]) if entry not in set(ids.tolist())]
        merged = [torch.cat([side[row, ids], side[row, rest].sum()[None]]) for side in (p, q)]
        values.append(case.build()(*(side.log()[None] for side in merged)))
    total = torch.cat(values)
    return total.detach(), torch.autograd.grad(total.sum(), leaf)[0]


@each_support
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_entries_merged_one_by_one(
    support: Support, case: Case
) -> None:
    teacher, student = logits(6, 9, seed=1), logits(6, 9, seed=2)
    targets = torch.arange(6)
    found = slope(support, case, teacher, student, targets)
    for ours, expected in zip(found, dense(support, case, teacher, student, targets), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@each_support
@pytest.mark.parametrize("case", F_DIVERGENCES, ids=str)
@given(pair=pairs(), seed=st.integers(0, 1000))
@a_few
def test_a_merged_support_never_exceeds_the_full_value_and_is_never_negative(
    support: Support, case: Case, pair: tuple[Tensor, Tensor], seed: int
) -> None:
    """Trap 14: top-k without a bucket goes negative."""
    teacher, student = pair
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, student.shape[1], (len(student),), generator=generator)
    whole, _ = slope(Full(), case, teacher, student, targets)
    merged, _ = slope(support, case, teacher, student, targets)
    assert (merged <= whole * (1 + 1e-9) + 1e-12).all()
    assert (merged >= NEGATIVE * 1e-6).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_many_entries_as_the_vocabulary_has_is_the_full_support(case: Case) -> None:
    teacher, student, targets = logits(4, 7, seed=3), logits(4, 7, seed=4), torch.zeros(4).long()
    whole = slope(Full(), case, teacher, student, targets)
    for support in (TeacherTopK(k=7), StudentTopK(k=1000)):
        for found, expected in zip(
            slope(support, case, teacher, student, targets), whole, strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_student_gains_nothing_by_leaving_the_teachers_entries() -> None:
    """Trap 15: reverse KL over the teacher's top k alone is least where the student is not."""
    teacher = torch.tensor([[3.0, 2.0, -1.0, -1.0, -1.0]])
    inside = torch.tensor([[3.0, 2.0, -1.0, -1.0, -1.5]])
    outside = torch.tensor([[-9.0, -9.0, 3.0, -1.0, -1.0]])
    support, targets = TeacherTopK(k=2), torch.zeros(1).long()
    near, _ = slope(support, Case("reverse_kl"), teacher, inside, targets)
    far, gradient = slope(support, Case("reverse_kl"), teacher, outside, targets)
    assert far > near + 1
    assert (gradient[0, :2] < 0).all(), "the student is pulled back into the support"
    p, q = teacher.softmax(-1)[:, :2], outside.softmax(-1)[:, :2]
    assert (q * (q / p).log()).sum() < near, "without the bucket, leaving looks best"


def test_a_tiny_bucket_is_not_lost_to_rounding() -> None:
    teacher = torch.tensor([[30.0, 0.0, 1.0]])
    student = torch.tensor([[30.0, 3.0, 1.0]])
    found = [
        slope(
            TeacherTopK(k=1),
            Case("forward_kl"),
            *(side.to(kind) for side in (teacher, student)),
            torch.zeros(1).long(),
        )[1]
        for kind in (torch.float32, torch.float64)
    ]
    torch.testing.assert_close(found[0].double()[0, 1:], found[1][0, 1:], rtol=1e-4, atol=0)


def test_a_bucket_of_masked_entries_stays_finite() -> None:
    teacher = torch.tensor([[1.0, 0.0, -torch.inf, -torch.inf]])
    for divergence in (ForwardKL(), ReverseKL()):
        ours = log_probs(teacher.flip(0))
        values, slopes = TeacherTopK(k=2).slope(
            divergence, log_probs(teacher), ours, torch.zeros(1).long()
        )
        assert values.abs().max() < 1e-6
        assert through_softmax(slopes, ours).abs().max() < 1e-6
    assert log_probs(teacher)[0, 2] == FLOOR


def test_the_sampled_support_keeps_the_token_of_the_response() -> None:
    targets = torch.tensor([2, 0])
    both = log_probs(logits(2, 5, seed=5))
    assert Sampled().chosen(both, both, targets).tolist() == [[2], [0]]


@pytest.mark.parametrize("cls", [TeacherTopK, StudentTopK])
def test_k_below_one_is_refused(cls: type) -> None:
    with pytest.raises(ConfigError, match=r"support\.k must be at least 1, got 0"):
        cls(k=0)
