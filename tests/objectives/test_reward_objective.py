"""A reward and a teacher: exact means over groups of responses, and the two ends of alpha."""

from itertools import product

import pytest
import torch
from torch import Tensor

from distillkit.core.types import Rollout
from distillkit.divergences.base import Divergence
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.reward import Baseline, RewardObjective
from distillkit.supports.full import Full
from distillkit.supports.top_k import TeacherTopK
from tests.divergences.cases import CASES, Case
from tests.objectives.enumeration import (
    PROMPT,
    Text,
    World,
    along,
    responses,
    run,
    slope,
    world,
)

SHORT = 3
"""Longest response, so that there are 225 pairs."""
EXACT = {"rtol": 1e-9, "atol": 1e-12}
TEXTS = responses(SHORT)


def rewards(seed: int) -> dict[Text, float]:
    """What each response is worth: around 1, as a share of right answers might be."""
    values = torch.rand(len(TEXTS), generator=torch.Generator().manual_seed(seed)) + 0.5
    return dict(zip(TEXTS, values.tolist(), strict=True))


def objective(divergence: Divergence | None = None, **settings: object) -> RewardObjective:
    return RewardObjective(divergence=divergence or ReverseKL(), support=Full(), **settings)


def over_pairs(kind: RewardObjective, made: World, worth: dict[Text, float]) -> Tensor:
    """Mean of the gradient over two independent responses to one prompt, by sequence means."""
    total = torch.zeros_like(made.student)
    for pair in product(TEXTS, repeat=2):
        rollouts = [made.rollout(text, reward=worth[text]) for text in pair]
        shares = [1 / (2 * len(text)) for text in pair]
        total += (
            made.probability(pair[0])
            * made.probability(pair[1])
            * run(kind, made, rollouts, shares)[1]
        )
    return total


def earns(made: World, worth: dict[Text, float]) -> Tensor:
    """Gradient of the expected reward, by autograd."""
    return slope(
        lambda q: sum(along(q, text).sum().exp() * worth[text] for text in TEXTS), made.student
    )


def diverges(made: World, divergence: Divergence) -> Tensor:
    """Gradient of the mean over tokens of a divergence, with the student's texts as given."""

    def value(q: Tensor) -> Tensor:
        apart = divergence(made.p, q)
        return sum(made.probability(text) * apart[[PROMPT, *text[:-1]]].mean() for text in TEXTS)

    return slope(value, made.student)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("baseline", "factor"),
    [(Baseline.none, 1.0), (Baseline.leave_one_out, 1.0), (Baseline.group, 0.5)],
)
def test_the_mean_is_the_gradient_of_the_expected_reward(
    baseline: Baseline, factor: float, seed: int
) -> None:
    """The group's mean holds the response's own reward, so of two it leaves (n - 1) / n = 1/2."""
    made, worth = world(seed), rewards(seed)
    found = over_pairs(objective(alpha=0.0, baseline=baseline), made, worth)
    torch.testing.assert_close(found, -factor * earns(made, worth), **EXACT)


@pytest.mark.parametrize("alpha", [0.25, 0.8])
@pytest.mark.parametrize("divergence", [ForwardKL(), ReverseKL(), JensenShannon(beta=0.1)])
def test_alpha_mixes_reward_and_divergence(divergence: Divergence, alpha: float) -> None:
    made, worth = world(3), rewards(3)
    found = over_pairs(objective(divergence, alpha=alpha), made, worth)
    wanted = alpha * diverges(made, divergence) - (1 - alpha) * earns(made, worth)
    torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("baseline", Baseline)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_teacher_alone_is_distillation_bit_for_bit(case: Case, baseline: Baseline) -> None:
    made, shares = world(4), [0.3 + index / 7 for index in range(len(TEXTS))]
    rollouts = [made.rollout(text) for text in TEXTS]
    fields = {"divergence": case.build(), "support": TeacherTopK(k=1), "teacher_temperature": 1.3}
    for settings in ({}, {"student_temperature": 0.7}):
        (numbers, found), (wanted, exact) = (
            run(kind(**fields, **settings, **extra), made, rollouts, shares)
            for kind, extra in (
                (RewardObjective, {"alpha": 1.0, "baseline": baseline}),
                (DivergenceObjective, {}),
            )
        )
        assert numbers["loss"] == numbers["loss/divergence"] == wanted["loss"]
        assert torch.equal(found, exact)
        assert exact.any()


def group_of(made: World) -> list[Rollout]:
    """Five responses to two prompts that are not side by side."""
    asked = [("a", 1.0), ("b", 0.0), ("a", 0.5), ("b", 4.0), ("a", 0.0)]
    texts = [(1, 2, 0), (0,), (2, 0), (1, 1, 1), (1, 0)]
    return [
        made.rollout(text, name=name, reward=reward)
        for text, (name, reward) in zip(texts, asked, strict=True)
    ]


@pytest.mark.parametrize(
    ("baseline", "gains"),
    [
        (Baseline.none, [1.0, 0.0, 0.5, 4.0, 0.0]),
        (Baseline.group, [0.5, -2.0, 0.0, 2.0, -0.5]),
        (Baseline.leave_one_out, [0.75, -4.0, 0.0, 4.0, -0.75]),
    ],
)
def test_a_baseline_is_that_of_the_prompts_own_responses(
    baseline: Baseline, gains: list[float]
) -> None:
    rollouts = group_of(world(1))
    shares = [0.2, 0.4, 0.1, 0.6, 0.3]
    found = objective(alpha=0.4, baseline=baseline).credit(rollouts, shares)
    for credit, rollout, gain, share in zip(found, rollouts, gains, shares, strict=True):
        count = len(rollout.response.tokens)
        assert credit.advantages.tolist() == pytest.approx([0.6 * gain / 5] * count)
        assert credit.exact.tolist() == pytest.approx([0.4 * share] * count)
        assert credit.drawn.tolist() == list(rollout.response.log_probs)
        assert credit.total == 11


def test_a_reward_counts_by_responses_whatever_the_reduction() -> None:
    made = world(1)
    kind = objective(alpha=0.0, baseline=Baseline.none)
    for shares in ([0.1] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]):
        found = kind.credit(group_of(made), shares)
        assert [float(credit.advantages[0]) for credit in found] == [0.2, 0.0, 0.1, 0.8, 0.0]


def test_without_a_share_of_the_teacher_nobody_asks_it() -> None:
    """And without a share of the reward nobody judges."""
    assert objective(alpha=0.0).comparison() is None
    assert not objective(alpha=0.0).needs_teacher()
    assert objective(alpha=0.1).needs_teacher()
    assert objective(alpha=1.0).judge(None, device=torch.device("cpu")) is None


def test_a_step_later_the_ratio_to_the_old_student_corrects_single_tokens() -> None:
    """Drawn from an old student, with its log-probabilities: the gradient at the new one."""
    old, now = world(1), world(2)
    texts = responses(1)
    worth = {text: float(index) - 0.7 for index, text in enumerate(texts)}
    made = World(now.student, now.teacher, drawn=old.q, writer=old.q)
    kind = objective(alpha=0.0, baseline=Baseline.none)
    found = sum(
        made.probability(text) * run(kind, made, [made.rollout(text, reward=worth[text])])[1]
        for text in texts
    )
    wanted = slope(
        lambda q: sum(along(q, text).sum().exp() * worth[text] for text in texts), made.student
    )
    torch.testing.assert_close(found, -wanted, **EXACT)
