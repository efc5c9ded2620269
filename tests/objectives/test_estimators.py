"""What the estimators are chosen for: exact variances, and two losses that would be wrong."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from distillkit.divergences.kl import ReverseKL
from distillkit.objectives.minillm import MiniLLM
from distillkit.objectives.reward import Baseline, RewardObjective
from distillkit.supports.full import Full
from tests.objectives.enumeration import (
    PROMPT,
    Text,
    World,
    along,
    moments,
    prefixes,
    responses,
    run,
    slope,
    whole,
    world,
)

SEEDS = [1, 2, 3, 4, 5]
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def spread(objective: MiniLLM, made: World) -> float:
    """Trace of the covariance of one response's gradient."""
    return moments(made, lambda text: run(objective, made, [made.rollout(text)])[1])[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_taking_the_single_step_exactly_lowers_the_variance(seed: int) -> None:
    """MiniLLM's reason for eq. 3; both have one mean, which other tests show."""
    made = world(seed)
    exact, sampled = (
        spread(MiniLLM(single_step=taken, length_normalisation=False, clip=None), made)
        for taken in (True, False)
    )
    assert exact < 0.9 * sampled


@pytest.mark.parametrize("seed", SEEDS)
def test_later_rewards_are_what_varies(seed: int) -> None:
    """Exact terms alone vary with the prefixes and no more."""
    made = world(seed)
    none, all_of_it = (
        spread(MiniLLM(gamma=gamma, length_normalisation=False, clip=None), made)
        for gamma in (0.0, 1.0)
    )
    assert none < 0.5 * all_of_it


def of_pairs(made: World, baseline: Baseline, worth: dict[Text, float]) -> float:
    """Variance of the reward's gradient over two responses to one prompt."""
    kind = RewardObjective(divergence=ReverseKL(), support=Full(), alpha=0.0, baseline=baseline)
    squares, mean = 0.0, torch.zeros_like(made.student)
    for left in worth:
        for right in worth:
            rollouts = [made.rollout(text, reward=worth[text]) for text in (left, right)]
            share = (made.probability(left) * made.probability(right)).item()
            _, found = run(kind, made, rollouts)
            squares += share * found.square().sum().item()
            mean += share * found
    return squares - mean.square().sum().item()


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_leaving_one_out_lowers_the_variance_of_a_reward_whose_mean_is_not_small(
    seed: int,
) -> None:
    """Of two, the other's reward takes the mean away and adds its own variance, smaller here.

    Where the mean is 0 there is nothing to take away, and the baseline is only noise.
    """
    made, texts = world(seed), responses(3)
    values = torch.rand(len(texts), generator=torch.Generator().manual_seed(seed)) + 0.5
    worth = dict(zip(texts, values.tolist(), strict=True))
    bare, compared = (
        of_pairs(made, baseline, worth) for baseline in (Baseline.none, Baseline.leave_one_out)
    )
    assert compared < 0.5 * bare
    mean = sum(made.probability(text).item() * worth[text] for text in texts)
    centred = {text: value - mean for text, value in worth.items()}
    bare, worse = (
        of_pairs(made, baseline, centred) for baseline in (Baseline.none, Baseline.leave_one_out)
    )
    assert worse > 1.2 * bare
    assert worse == pytest.approx(compared, rel=1e-6)


def back_propagated(made: World, estimate: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean gradient of a loss of log teacher - log student at the tokens that were drawn."""

    def gradient(text: Text) -> Tensor:
        return slope(lambda q: estimate(along(made.p, text) - along(q, text)).sum(), made.student)

    return moments(made, gradient)[0]


def test_back_propagating_the_sampled_difference_learns_nothing() -> None:
    """The mean of log student - log teacher is the divergence, that of its gradient is 0."""
    made = world(1)
    found = back_propagated(made, lambda gap: -gap)
    assert found.abs().max() < 1e-12
    assert whole(made).abs().max() > 0.1


def test_back_propagating_k3_learns_forward_kl() -> None:
    """Its value estimates reverse KL, its gradient descends the other one on given prefixes."""
    made = world(1)

    def given_prefixes(divergence: Callable[[Tensor], Tensor]) -> Tensor:
        return slope(
            lambda q: sum(
                made.probability(text) * divergence(q)[(PROMPT, *text)[-1]] for text in prefixes()
            ),
            made.student,
        )

    forward = given_prefixes(lambda q: (made.p.exp() * (made.p - q)).sum(-1))
    reverse = given_prefixes(lambda q: (q.exp() * (q - made.p)).sum(-1))
    found = back_propagated(made, lambda gap: gap.exp() - 1 - gap)
    torch.testing.assert_close(found, forward, **EXACT)
    assert (found - reverse).norm() > 0.1 * reverse.norm()
    assert (found - whole(made)).norm() > 0.1 * whole(made).norm()
