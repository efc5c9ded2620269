"""Advantages token by token, against arithmetic in numpy: the reference code's, and whitening."""

import numpy as np
import pytest
import torch

from distillkit.core.types import Author, Response, Rollout
from distillkit.objectives.minillm import MiniLLM, Variant
from distillkit.objectives.returns import later_returns, returns, whiten
from tests.tiny import example

LENGTHS = [4, 1, 9, 2, 6]
SHARES = [0.25, 1.0, 0.1, 0.5, 2.0]


def reference(**settings: object) -> MiniLLM:
    """The fields that ``variant=reference`` fills in."""
    fields = {
        "variant": Variant.reference,
        "gamma": 0.95,
        "whiten": True,
        "weigh_single_step": False,
        "reward_scale": 2.0,
        "reward_clip": 100.0,
        "pretraining_kd": 0.5,
    }
    return MiniLLM(**{**fields, **settings})


def rollouts(seed: int = 0, *, spread: float = 1.0) -> list[Rollout]:
    """Responses of different lengths with random opinions of both models."""
    random = np.random.default_rng(seed)
    found = []
    for row, length in enumerate(LENGTHS):
        drawn, ours, theirs = (tuple(-spread * random.exponential(size=length)) for _ in range(3))
        response = Response(
            tuple(range(2, 2 + length)),
            truncated=False,
            author=Author.mixture,
            log_probs=drawn,
            of_student=ours,
            of_teacher=theirs,
        )
        found.append(Rollout(example(str(row)), response))
    return found


def as_the_authors_compute(rows: list[Rollout], *, gamma: float, limit: float) -> list[np.ndarray]:
    """LMOps' ``_get_advantages_and_returns``, less its slip of whitening over padding."""
    found = []
    for row in rows:
        scores = np.array(row.response.of_teacher) - np.array(row.response.of_student)
        rewards = np.clip(scores / 0.5, -limit, limit)
        values = np.zeros(len(rewards))
        running = 0.0
        for place in range(len(rewards) - 1, -1, -1):
            running = rewards[place] + gamma * running
            values[place] = running / (len(rewards) - place)
        found.append(values)
    flat = np.concatenate(found)
    return [(values - flat.mean()) / np.sqrt(flat.var() + 1e-8) for values in found]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("gamma", "limit"), [(0.95, 100.0), (0.5, 0.7)])
def test_the_references_advantages(gamma: float, limit: float, seed: int) -> None:
    rows = rollouts(seed, spread=30.0 if limit == 100 else 1.0)
    wanted = as_the_authors_compute(rows, gamma=gamma, limit=limit)
    gaps = [2 * abs(np.subtract(r.response.of_teacher, r.response.of_student)) for r in rows]
    assert (np.concatenate(gaps) > limit).any()
    earned = reference(gamma=gamma, reward_clip=limit).credit(rows, SHARES)
    for row, credit, share, values in zip(rows, earned, SHARES, wanted, strict=True):
        np.testing.assert_allclose(credit.advantages, share * values, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(credit.exact, [share] * len(values))
        np.testing.assert_array_equal(credit.drawn, row.response.log_probs)
        assert credit.total == sum(LENGTHS)


def test_whitened_advantages_have_mean_0_and_variance_1_over_the_tokens() -> None:
    """A batch's padding is no token: rows of any length count by the tokens they have."""
    found = reference().credit(rollouts(), [1.0] * len(LENGTHS))
    flat = np.concatenate([credit.advantages for credit in found])
    assert len(flat) == sum(LENGTHS)
    assert flat.mean() == pytest.approx(0, abs=1e-12)
    assert flat.var() == pytest.approx(1, rel=1e-6)
    padded = np.zeros((len(LENGTHS), max(LENGTHS)))
    for row, credit in zip(padded, found, strict=True):
        row[: len(credit.advantages)] = credit.advantages
    assert padded.var() < 0.6


def test_the_order_of_rows_does_not_matter() -> None:
    rows = rollouts()
    straight = reference().credit(rows, SHARES)
    turned = reference().credit(rows[::-1], SHARES[::-1])[::-1]
    for one, other in zip(straight, turned, strict=True):
        np.testing.assert_allclose(one.advantages, other.advantages, rtol=1e-12)


def test_whitening_takes_the_batch_and_not_a_row() -> None:
    rows = [np.full(3, 5.0), np.full(2, -1.0)]
    found = whiten([torch.tensor(row) for row in rows])
    mean, spread = 13 / 5, np.sqrt(np.concatenate(rows).var())
    for row, values in zip(rows, found, strict=True):
        np.testing.assert_allclose(values, (row - mean) / spread, rtol=1e-6)


def test_a_batch_of_equal_advantages_is_whitened_to_nothing() -> None:
    """And not to infinity."""
    (values,) = whiten([torch.full((4,), 3.0, dtype=torch.float64)])
    assert not values.any()


def test_the_paper_averages_what_comes_after_a_token() -> None:
    """Eq. 6; the last token has nothing after it, and nothing is divided by zero."""
    rows = rollouts(3)
    for row, credit in zip(rows, MiniLLM().credit(rows, [1.0] * len(rows)), strict=True):
        rewards = np.subtract(row.response.of_teacher, row.response.of_student)
        wanted = [rewards[place + 1 :].mean() for place in range(len(rewards) - 1)]
        np.testing.assert_allclose(credit.advantages, [*wanted, 0.0], rtol=1e-9, atol=1e-12)
        weights = np.exp(np.subtract(row.response.of_student, row.response.log_probs))
        np.testing.assert_allclose(credit.exact, weights, rtol=1e-12)


def test_equation_2_averages_a_tokens_own_reward_too() -> None:
    rows = rollouts(4)
    objective = MiniLLM(single_step=False, gamma=0.9)
    for row, credit in zip(rows, objective.credit(rows, [1.0] * len(rows)), strict=True):
        rewards = np.subtract(row.response.of_teacher, row.response.of_student)
        wanted = [
            (rewards[place:] * 0.9 ** np.arange(len(rewards) - place)).sum()
            / (len(rewards) - place)
            for place in range(len(rewards))
        ]
        np.testing.assert_allclose(credit.advantages, wanted, rtol=1e-9)


def test_returns_by_hand() -> None:
    rewards = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    assert returns(rewards, 0.5).tolist() == [31.0, 60.0, 100.0]
    assert later_returns(rewards, 0.5).tolist() == [30.0, 50.0, 0.0]
    assert later_returns(rewards, 1.0).tolist() == [110.0, 100.0, 0.0]
    assert later_returns(rewards, 0.0).tolist() == [0.0, 0.0, 0.0]


def test_what_is_learnt_beside_the_rollouts() -> None:
    """Language modelling in the paper; half of it forward KL in the code; a weight of 0 is none."""
    plain, mixed = MiniLLM(pretraining=0.7).beside(), reference(pretraining_kd=0.3).beside()
    assert plain is not None
    assert mixed is not None
    assert (type(plain.objective).__name__, plain.weight) == ("SFT", 0.7)
    assert (type(mixed.objective).__name__, mixed.weight) == ("KD", 1.0)
    assert mixed.objective.ratio == 0.3
    assert type(mixed.objective.divergence).__name__ == "ForwardKL"
    assert MiniLLM(pretraining=0.0).beside() is None
