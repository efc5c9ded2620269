"""Log-probabilities with their normaliser apart: what a large vocabulary costs in digits."""

import pytest
import torch
from torch import Tensor

from distillkit.core.types import LogProbs, PerToken
from distillkit.divergences.apart import FLOOR, Apart, log_probs, together
from distillkit.divergences.base import Divergence, kl, through_softmax
from distillkit.supports.full import Full
from tests.divergences.cases import CASES, Case

LARGE = 151_936
"""Entries of Qwen 2.5's vocabulary."""


def logits(seed: int, *, spread: float = 2.5, entries: int = LARGE) -> Tensor:
    return spread * torch.randn(4, entries, generator=torch.Generator().manual_seed(seed))


def off(found: Tensor, exact: Tensor) -> float:
    return ((found.double() - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_over_a_large_vocabulary_are_those_of_float64(case: Case) -> None:
    """torch's log_softmax alone makes them wrong by 1e-5 on a CPU."""
    ours, theirs = logits(0), logits(1)
    divergence, targets = case.build(), torch.zeros(4, dtype=torch.long)

    def gradient(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        student = Apart.of(other)
        values, slope = Full().slope(divergence, Apart.of(one), student, targets)
        return values, through_softmax(slope, student)

    values, found = gradient(theirs, ours)
    right, exact = gradient(theirs.double(), ours.double())
    assert off(values, right) < 3e-7
    # At a kink, which total variation and the head of adaptive have, an entry may fall either way.
    assert off(found, exact) < (1e-3 if case.name in ("tvd", "adaptive") else 1e-6)


@pytest.mark.parametrize("spread", [2.5, 80.0])
def test_probabilities_add_up_to_one_whatever_the_logits(spread: float) -> None:
    """Logits of several hundred lose no digits to their size."""
    scores = logits(0, spread=spread) + 100
    exact = scores.double().log_softmax(-1)
    apart = Apart.of(scores)
    for found in (log_probs(scores), together(apart)):
        assert (found.double().exp().sum(-1) - 1).abs().max() < 3e-7
        assert (found - exact).abs().max() < 1e-6 * exact.abs().max()
    assert off(apart.exp(), exact.exp()) < 3e-7
    ids = torch.tensor([[3, 5]] * 4)
    torch.testing.assert_close(apart.at(ids).double(), exact.gather(-1, ids), rtol=1e-6, atol=1e-6)


def test_ratios_of_models_that_nearly_agree_keep_their_digits() -> None:
    ours = logits(0)
    theirs = ours + 1e-3 * logits(1)
    exact = theirs.double().log_softmax(-1) - ours.double().log_softmax(-1)
    assert off(Apart.of(theirs) - Apart.of(ours), exact) < 3e-5
    assert off(log_probs(theirs) - log_probs(ours), exact) > 1e-4


def test_masked_entries_are_harmless_on_either_side() -> None:
    ours, theirs = logits(0, entries=6), logits(1, entries=6)
    ours[:, 2] = theirs[:, 2] = -torch.inf
    theirs[:, 4] = -torch.inf
    left, right = Apart.of(theirs), Apart.of(ours)
    assert together(left)[:, 4].tolist() == pytest.approx([FLOOR] * 4)
    assert (left - right).isfinite().all()
    found = kl(left, right)
    assert found.isfinite().all()
    torch.testing.assert_close(found, kl(log_probs(theirs), log_probs(ours)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_masked_entry_of_the_student_does_not_move(case: Case) -> None:
    ours, theirs = logits(0, entries=6), logits(1, entries=6)
    ours[:, 2] = -torch.inf
    student = Apart.of(ours)
    slopes = Full().slope(case.build(), Apart.of(theirs), student, torch.zeros(4).long())[1]
    found = through_softmax(slopes, student)
    assert (found[:, 2] == 0).all()
    assert found.abs().amax(-1).min() > 1e-3
    # What every logit is raised by alike changes nothing.
    torch.testing.assert_close(found.sum(-1), torch.zeros(4), rtol=0, atol=1e-6)


def test_temperatures_divide_and_leave_the_logits_as_they_were() -> None:
    scores = logits(0, entries=6)
    before = scores.clone()
    torch.testing.assert_close(together(Apart.of(scores, 2.0)), (scores / 2).log_softmax(-1))
    assert torch.equal(scores, before)


class Own(Divergence):
    """What a reader of the README might write."""

    def __call__(self, teacher: LogProbs, student: LogProbs) -> PerToken:
        return (teacher.softmax(-1) * (teacher - student)).sum(-1)


def test_a_divergence_of_one_s_own_is_given_tensors() -> None:
    ours, theirs = logits(0, entries=6), logits(1, entries=6)
    student = Apart.of(ours)
    values, slope = Full().slope(Own(), Apart.of(theirs), student, torch.zeros(4).long())
    torch.testing.assert_close(values, kl(log_probs(theirs), log_probs(ours)))
    expected = ours.softmax(-1) - theirs.softmax(-1)
    torch.testing.assert_close(through_softmax(slope, student), expected)
