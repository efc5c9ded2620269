"""MiniLLM and sampled KL on the student's own text: their mean is the exact gradient.

The mean is taken over all responses, so nothing here is statistical.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distillkit.core.types import Author
from distillkit.divergences.kl import ReverseKL
from distillkit.objectives.base import Objective
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.minillm import MiniLLM
from distillkit.objectives.returns import importance
from distillkit.objectives.sampled_kl import SampledKL
from distillkit.supports.full import Full
from tests.objectives.enumeration import (
    PROMPT,
    WORDS,
    Text,
    World,
    along,
    expected,
    moments,
    prefixes,
    responses,
    run,
    scores,
    slope,
    whole,
    world,
)

SEEDS = [1, 2, 3]
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def plain(**settings: object) -> MiniLLM:
    """MiniLLM of the paper without what biases it."""
    return MiniLLM(**{"length_normalisation": False, "clip": None, **settings})


def discounted(made: World, gamma: float) -> Tensor:
    """The gradient that discounts how much a token answers for the later ones, by autograd.

    Prefix by prefix, where the product goes response by response: the reward of a prefix's last
    token pushes every token before it, by gamma for each that lies between.
    """

    def value(q: Tensor) -> Tensor:
        terms = []
        for text in [(*start, token) for start in prefixes() for token in (0, *WORDS)]:
            cost = (along(made.q, text) - along(made.p, text))[-1]
            powers = gamma ** torch.arange(len(text) - 1, -1, -1, dtype=torch.float64)
            terms.append(made.probability(text) * cost * (powers * along(q, text)).sum())
        return torch.stack(terms).sum()

    return slope(value, made.student)


def given_prefixes(made: World) -> Tensor:
    """Gradient of reverse KL at each position, as if the student's prefixes were anybody's."""

    def value(q: Tensor) -> Tensor:
        apart = (q.exp() * (q - made.p)).sum(-1)
        terms = [made.probability(text) * apart[(PROMPT, *text)[-1]] for text in prefixes()]
        return torch.stack(terms).sum()

    return slope(value, made.student)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "objective",
    [plain(), plain(single_step=False), SampledKL(gamma=1.0)],
    ids=["single-step", "eq. 2", "sampled"],
)
def test_the_mean_is_the_gradient_of_reverse_kl_over_whole_responses(
    objective: Objective, seed: int
) -> None:
    made = world(seed)
    torch.testing.assert_close(expected(objective, made), whole(made), **EXACT)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "objective",
    [plain(gamma=0.0), plain(gamma=0.0, single_step=False), SampledKL()],
    ids=["single-step", "eq. 2", "sampled"],
)
def test_without_later_rewards_prefixes_are_given(objective: Objective, seed: int) -> None:
    made = world(seed)
    found, alone = expected(objective, made), given_prefixes(made)
    torch.testing.assert_close(found, alone, **EXACT)
    assert (alone - whole(made)).norm() > 0.05 * alone.norm()


@pytest.mark.parametrize("gamma", [0.3, 0.8])
@pytest.mark.parametrize(
    "kind", [plain, lambda **given: plain(single_step=False, **given), SampledKL]
)
def test_gamma_discounts_what_a_token_answers_for(kind, gamma: float) -> None:
    made = world(1)
    found = expected(kind(gamma=gamma), made)
    torch.testing.assert_close(found, discounted(made, gamma), **EXACT)


def test_the_two_ends_of_gamma_are_the_two_gradients() -> None:
    """The oracles agree among themselves."""
    made = world(1)
    torch.testing.assert_close(discounted(made, 0.0), given_prefixes(made), **EXACT)
    torch.testing.assert_close(discounted(made, 1.0), whole(made), **EXACT)


def test_the_mean_of_the_divergence_is_that_of_whole_responses() -> None:
    """Chain rule; and the policy's part of the loss is minus advantage times ratio."""
    made, text = world(2), (1, 2, 0)
    mean, _ = moments(
        made,
        lambda text: torch.tensor(
            run(plain(), made, [made.rollout(text)])[0]["loss/divergence"], dtype=torch.float64
        ),
    )
    ours, theirs = (
        torch.stack([along(table, text).sum() for text in responses()])
        for table in (made.q, made.p)
    )
    assert mean.item() == pytest.approx((ours.exp() * (ours - theirs)).sum().item(), rel=1e-6)
    numbers, _ = run(plain(), made, [made.rollout(text)])
    rewards = along(made.p, text) - along(made.q, text)
    assert numbers["loss/policy"] == pytest.approx(-(rewards[1] + 2 * rewards[2]).item())
    assert numbers["loss"] == numbers["loss/divergence"] + numbers["loss/policy"]
    assert numbers["clipped_share"] == 0


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("clip", [None, 0.2])
def test_minillm_without_later_rewards_is_reverse_kl_bit_for_bit(
    normalised: bool, clip: float | None
) -> None:
    """On the student's own text every ratio is exactly 1, so the clip cannot bite."""
    objective = MiniLLM(gamma=0.0, length_normalisation=normalised, clip=clip)
    twin = DivergenceObjective(support=Full(), divergence=ReverseKL())
    for seed in SEEDS:
        made = world(seed)
        rollouts = [made.rollout(text) for text in responses()]
        shares = [0.1 + index / 7 for index in range(len(rollouts))]
        (numbers, found), (wanted, exact) = (
            run(kind, made, rollouts, shares) for kind in (objective, twin)
        )
        assert numbers["loss"] == wanted["loss"]
        assert torch.equal(found, exact)


def test_own_text_weighs_exactly_one() -> None:
    made = world(1)
    for text in responses():
        response = made.rollout(text).response
        assert response.author is Author.student
        assert importance(response).tolist() == [1.0] * len(text)


def by_hand(made: World, text: Text, *, limit: float, gamma: float, amplify: float) -> Tensor:
    """One response's gradient, each advantage in a loop of its own."""
    rewards = (along(made.p, text) - along(made.q, text)).tolist()
    advantages = []
    for place in range(len(text)):
        later = sum(gamma ** (k - place) * rewards[k] for k in range(place, len(text)))
        advantages.append(min(max(later, -limit), limit))
    sizes = [abs(value) for value in advantages]
    factors = [1 + amplify * (1 - sum(sizes[:place]) / sum(sizes)) for place in range(len(text))]
    pushes = torch.tensor(
        [f * a for f, a in zip(factors, advantages, strict=True)], dtype=torch.float64
    )
    return -torch.einsum("t,tij->ij", pushes, scores(made, text))


@pytest.mark.parametrize("gamma", [0.0, 0.9])
@pytest.mark.parametrize(("limit", "amplify"), [(0.4, 0.0), (1e9, 0.5), (0.4, 2.0)])
def test_advantages_are_limited_and_the_first_tokens_amplified(
    limit: float, amplify: float, gamma: float
) -> None:
    """IW-OPD's weight is 1 + amplify for the first token and falls to what is left."""
    made = world(3)
    objective = SampledKL(
        gamma=gamma, advantage_clip=None if limit > 1e6 else limit, amplify=amplify
    )
    for text in responses():
        _, found = run(objective, made, [made.rollout(text)])
        wanted = by_hand(made, text, limit=limit, gamma=gamma, amplify=amplify)
        torch.testing.assert_close(found, wanted, **EXACT)


def test_a_teacher_that_agrees_is_amplified_to_nothing() -> None:
    made = world(1)
    same = replace(made, teacher=made.student)
    _, found = run(SampledKL(amplify=0.5), same, [same.rollout((1, 2, 0))])
    assert not found.any()


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize(
    "objective",
    [MiniLLM(), plain(single_step=False), SampledKL(), SampledKL(gamma=0.5, amplify=0.5, clip=0.1)],
    ids=["single-step", "eq. 2", "sampled", "amplified"],
)
def test_a_batch_is_the_weighted_sum_of_its_rows(objective: Objective, alpha: float) -> None:
    """Whatever the reduction, it is in the weights and is applied once."""
    made, shares = world(2, alpha=alpha), [0.3, 0.05, 1.7]
    rollouts = [made.rollout(text) for text in [(1, 2, 0), (0,), (2, 1, 1, 2)]]
    numbers, found = run(objective, made, rollouts, shares)
    parts = [run(objective, made, [row]) for row in rollouts]
    wanted = sum(share * gradient for share, (_, gradient) in zip(shares, parts, strict=True))
    loss = sum(share * alone["loss"] for share, (alone, _) in zip(shares, parts, strict=True))
    torch.testing.assert_close(found, wanted, **EXACT)
    assert numbers["loss"] == pytest.approx(loss)
