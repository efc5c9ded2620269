"""MiniLLM on text that student and teacher drew together: eq. 5 to 7, and how far they carry."""

import pytest
import torch
from torch import Tensor

from distillkit.core.types import Author
from distillkit.objectives.minillm import MiniLLM
from tests.objectives.enumeration import (
    Text,
    World,
    along,
    expected,
    moments,
    responses,
    run,
    scores,
    single_steps,
    whole,
    world,
)

ALPHA = 0.3
SEEDS = [1, 2, 3]
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def equation_7(
    made: World, text: Text, *, clip: float | None, normalised: bool, weighed: bool
) -> Tensor:
    """The term of one response, as the paper writes it, with PPO's clip on ratio times weight."""
    ratios, rewards = (
        (along(made.q, text) - along(made.drawn, text)).exp().tolist(),
        (along(made.p, text) - along(made.q, text)).tolist(),
    )
    steps, pushes = single_steps(made, text), scores(made, text)
    total = torch.zeros_like(made.student)
    for place, weight in enumerate(ratios):
        total += (weight if weighed else 1.0) * steps[place]
        later = rewards[place + 1 :]
        gain = sum(later) / (len(later) if normalised and later else 1)
        outside = clip is not None and (
            (gain > 0 and weight > 1 + clip) or (gain < 0 and weight < 1 - clip)
        )
        if not outside:
            total -= weight * gain * pushes[place]
    return total


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_each_response_gives_its_term_of_equation_7(
    clip: float | None, normalised: bool, weighed: bool, seed: int
) -> None:
    made = world(seed, alpha=ALPHA)
    settings = {"clip": clip, "normalised": normalised, "weighed": weighed}
    objective = MiniLLM(clip=clip, length_normalisation=normalised, weigh_single_step=weighed)
    for text in responses():
        _, found = run(objective, made, [made.rollout(text)])
        torch.testing.assert_close(found, equation_7(made, text, **settings), **EXACT)


def test_the_share_of_clipped_tokens_is_counted() -> None:
    made = world(1, alpha=ALPHA)
    objective = MiniLLM(clip=0.1)
    seen = 0
    for text in responses():
        ratios = (along(made.q, text) - along(made.drawn, text)).exp()
        rewards = along(made.p, text) - along(made.q, text)
        gains = torch.stack([rewards[place + 1 :].sum() for place in range(len(text))])
        cut = ((gains > 0) & (ratios > 1.1)) | ((gains < 0) & (ratios < 0.9))
        numbers, _ = run(objective, made, [made.rollout(text)])
        assert numbers["clipped_share"] == pytest.approx(cut.double().mean().item(), abs=1e-6)
        seen += int(cut.sum())
    assert seen > 5


def test_mixed_text_is_neither_ones_own() -> None:
    """Guard of the ground: weights differ from 1, and their mean given the prefix is 1."""
    made = world(1, alpha=ALPHA)
    assert made.rollout((1, 2, 0)).response.author is Author.mixture
    ratios = (made.q - made.drawn).exp()
    assert (ratios - 1).abs().max() > 0.2
    torch.testing.assert_close((made.drawn.exp() * ratios).sum(-1), torch.ones(3).double())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_weighing_the_exact_term_adds_noise_and_nothing_else(gamma: float, seed: int) -> None:
    """Given its prefix the weight has the mean 1, and the exact term hangs on the prefix alone."""
    made = world(seed, alpha=ALPHA)
    found = []
    for weighed in (False, True):
        objective = MiniLLM(clip=None, gamma=gamma, weigh_single_step=weighed)
        found.append(
            moments(made, lambda text: run(objective, made, [made.rollout(text)])[1])  # noqa: B023
        )
    (plain, calm), (weighed, noisy) = found
    torch.testing.assert_close(weighed, plain, **EXACT)
    if gamma == 0:
        assert noisy > 1.05 * calm


def test_one_factor_a_token_is_a_bias_that_grows_with_the_teachers_share() -> None:
    """Prefixes are the mixture's: each deviates from the student's by the order of alpha.

    So halving a small alpha halves the bias, at 0 there is none, and the step still points the
    right way at the paper's 0.2.
    """
    for seed in SEEDS:
        exact = whole(world(seed))
        bias, turned = {}, {}
        for alpha in (0.4, 0.2, 0.1, 0.05, 0.025, 0.0):
            found = expected(
                MiniLLM(clip=None, length_normalisation=False), world(seed, alpha=alpha)
            )
            bias[alpha] = ((found - exact).norm() / exact.norm()).item()
            turned[alpha] = torch.cosine_similarity(found.flatten(), exact.flatten(), dim=0)
        assert bias[0.0] < 1e-12
        assert sorted(bias.values(), reverse=True) == list(bias.values())
        assert 1.8 < bias[0.05] / bias[0.025] < 2.2
        assert 0.01 < bias[0.2] < 0.5
        assert turned[0.2] > 0.9


def test_the_whole_products_of_weights_would_leave_no_bias() -> None:
    """What eq. 5 leaves out is all that is missing: factors of the prefix and of later tokens."""
    made = world(1, alpha=ALPHA)

    def estimate(text: Text) -> Tensor:
        weight = (along(made.q, text) - along(made.drawn, text)).sum().exp()
        rewards = along(made.p, text) - along(made.q, text)
        later = rewards.flip(0).cumsum(0).flip(0) - rewards
        pushed = torch.einsum("t,tij->ij", later, scores(made, text))
        return weight * (single_steps(made, text).sum(0) - pushed)

    torch.testing.assert_close(moments(made, estimate)[0], whole(made), **EXACT)
