"""PPO's surrogate: value, slope and clipped tokens, against autograd in float64."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distillkit.objectives.pulls import Likelihood, Surrogate
from distillkit.objectives.sampled_kl import SampledKL
from tests.objectives.enumeration import along, expected, responses, run, scores, slope, world

RATIOS = [0.1, 0.5, 0.7999, 0.8001, 1.0, 1.1999, 1.2001, 1.5, 3.0]
ADVANTAGES = [-2.0, -1e-3, 0.0, 1e-3, 2.0]


def grid() -> tuple[Tensor, Tensor]:
    """Every ratio with every advantage: log-likelihoods [n], and advantage and drawn [n, 2]."""
    ratio, advantage = torch.cartesian_prod(
        torch.tensor(RATIOS, dtype=torch.float64), torch.tensor(ADVANTAGES, dtype=torch.float64)
    ).unbind(-1)
    drawn = -torch.linspace(0.5, 4, len(ratio), dtype=torch.float64)
    return drawn + ratio.log(), torch.stack([advantage, drawn], dim=-1)


def by_autograd(
    likelihood: Tensor, advantages: Tensor, drawn: Tensor, clip: float
) -> tuple[Tensor, Tensor]:
    """PPO's eq. 7 as a loss, and its derivative."""
    leaf = likelihood.clone().requires_grad_()
    ratio = (leaf - drawn).exp()
    loss = -torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip)).sum()
    (found,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), found


@pytest.mark.parametrize("clip", [0.2, 0.5])
def test_value_and_slope_are_those_of_autograd(clip: float) -> None:
    """Inside the limits both sides of the minimum are equal, so most of the grid is ties."""
    likelihood, numbers = grid()
    value, push, _ = Surrogate(clip)(likelihood, numbers)
    wanted, exact = by_autograd(likelihood, *numbers.unbind(-1), clip)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(push, exact)
    torch.testing.assert_close(push[(likelihood - numbers[:, 1]).abs() < 1e-9], -numbers[20:25, 0])


@pytest.mark.parametrize("near", [0.6, 0.75, 1.25, 1.5])
@pytest.mark.parametrize("advantage", [-3.0, 3.0])
def test_a_ratio_exactly_on_a_limit_is_not_cut(near: float, advantage: float) -> None:
    """As autograd has it: the derivative of a clamp at its limit is 1."""
    drawn = torch.tensor([-2.0], dtype=torch.float64)
    likelihood = drawn + math.log(near)
    ratio = (likelihood - drawn).exp().item()
    clip = abs(ratio - 1)
    assert ratio in (1 - clip, 1 + clip)
    numbers = torch.stack([torch.tensor([advantage]).double(), drawn], dim=-1)
    value, push, cut = Surrogate(clip)(likelihood, numbers)
    assert (value.item(), push.item(), int(cut)) == (-advantage * ratio, -advantage * ratio, 0)
    _, exact = by_autograd(likelihood, *numbers.unbind(-1), clip)
    assert push.item() == exact.item()


def test_a_token_is_cut_where_it_has_moved_its_advantages_way_and_too_far() -> None:
    """Such a token gives no gradient and is counted; one that moved the other way is let back."""
    likelihood, numbers = grid()
    _, push, cut = Surrogate(0.2)(likelihood, numbers)
    advantages, ratio = numbers[:, 0], (likelihood - numbers[:, 1]).exp()
    outside = ((advantages > 0) & (ratio > 1.2)) | ((advantages < 0) & (ratio < 0.8))
    assert int(cut) == int(outside.sum()) == 2 * 3 + 2 * 3
    assert not push[outside].any()
    assert push[~outside & (advantages != 0)].all()


def test_without_a_clip_the_ratio_is_plain_importance_weighting() -> None:
    likelihood, numbers = grid()
    value, push, cut = Surrogate(None)(likelihood, numbers)
    gain = numbers[:, 0] * (likelihood - numbers[:, 1]).exp()
    assert value.item() == pytest.approx(-gain.sum().item())
    torch.testing.assert_close(push, -gain)
    assert int(cut) == 0


def test_likelihood_is_weighted_cross_entropy() -> None:
    likelihood, weights = torch.tensor([-1.0, -2.0]), torch.tensor([[0.5], [3.0]])
    value, push, cut = Likelihood()(likelihood, weights)
    assert (value.item(), push.tolist(), int(cut)) == (6.5, [-0.5, -3.0], 0)


def test_the_ratio_corrects_for_an_old_student_that_drew() -> None:
    """Of single tokens: the mean over the old student's draws is the gradient at the new one.

    The advantage stays that of the time of drawing; it is the old student's log-probability that
    is compared with the teacher's.
    """
    old, now = world(1), world(2)
    made = replace(now, drawn=old.q, writer=old.q)
    texts = responses(1)
    found = sum(
        made.probability(text) * run(SampledKL(), made, [made.rollout(text)])[1] for text in texts
    )
    advantages = (made.p - old.q)[2]
    wanted = slope(lambda q: -(q[2].exp() * advantages).sum(), made.student)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    unweighted = sum(
        -made.probability(text) * along(made.p - old.q, text) * scores(made, text)[0]
        for text in texts
    )
    assert (unweighted - wanted).norm() > 0.1 * wanted.norm()


@pytest.mark.parametrize("clip", [0.1, 0.3])
def test_a_step_later_clipped_tokens_give_no_gradient(clip: float) -> None:
    """Through the whole objective, response by response."""
    old, now = world(1), world(2)
    made = replace(now, drawn=old.q, writer=old.q)
    for text in responses():
        numbers, found = run(SampledKL(clip=clip), made, [made.rollout(text)])
        advantages = along(made.p - old.q, text)
        ratios = along(made.q - old.q, text).exp()
        cut = ((advantages > 0) & (ratios > 1 + clip)) | ((advantages < 0) & (ratios < 1 - clip))
        pushes = (advantages * ratios).masked_fill(cut, 0)
        wanted = -torch.einsum("t,tij->ij", pushes, scores(made, text))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
        assert numbers["clipped_share"] == pytest.approx(cut.double().mean().item(), abs=1e-6)
    assert expected(SampledKL(clip=clip), made).any()
