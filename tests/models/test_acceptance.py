"""The rule of speculative decoding, by every path that a round can take."""

from itertools import product

import numpy as np
import pytest
import torch

from distillkit.models.acceptance import overlap, shaped, verify
from distillkit.models.sampling import Sampling

Tables = tuple[np.ndarray, np.ndarray]


def tables(words: int, distance: float, seed: int = 0) -> Tables:
    """Chances of each word after each other one, of target and draft [V, V]."""
    generator = np.random.default_rng(seed)
    target = generator.dirichlet(np.ones(words), words)
    other = generator.dirichlet(np.ones(words), words)
    return target, (1 - distance) * target + distance * other


def texts(target: np.ndarray, length: int) -> np.ndarray:
    """Chance of every text of so many words behind word 0, as one axis a word."""
    chances = target[0]
    for _ in range(length - 1):
        chances = chances[..., None] * target
    return chances


def round_of(target: np.ndarray, draft: np.ndarray, k: int) -> np.ndarray:
    """The distribution of k + 1 words when ``verify`` judges k proposals, and the target ends.

    A row is a path: a text proposed, each proposal accepted or not, and which word follows.
    """
    words = len(target)
    proposals, weights, uniforms = [], [], []
    for text in product(range(words), repeat=k):
        before = (0, *text[:-1])
        chance = np.prod([draft[b, t] for b, t in zip(before, text, strict=True)])
        ratios = [min(1, target[b, t] / draft[b, t]) for b, t in zip(before, text, strict=True)]
        for accepted in range(k + 1):
            weight = chance * np.prod(ratios[:accepted])
            last = (0, *text)[accepted]
            follows = target[last]
            if accepted < k:
                weight *= 1 - ratios[accepted]
                follows = np.clip(target[last] - draft[last], 0, None)
            if weight <= 1e-15:
                continue
            follows = follows / follows.sum()
            ends = follows.cumsum()
            for word in np.flatnonzero(follows):
                whether = [0.5 * ratio for ratio in ratios]
                if accepted < k:
                    whether[accepted] = 0.5 + 0.5 * ratios[accepted]
                draw = ends[word] - 0.5 * follows[word]
                proposals.append(text)
                weights.append(weight * follows[word])
                uniforms.append([[u, draw] for u in (*whether, 0.0)])
    rows = len(proposals)
    proposed = torch.tensor(proposals).view(rows, k)
    behind = torch.cat([torch.zeros(rows, 1, dtype=torch.long), proposed], dim=1)
    found = verify(
        torch.from_numpy(target)[behind],
        torch.from_numpy(draft)[behind[:, :k]],
        proposed,
        torch.full((rows,), k),
        torch.tensor(uniforms, dtype=torch.float64),
    )
    total = np.zeros((words,) * (k + 1))
    for row, weight in enumerate(weights):
        accepted = int(found.accepted[row])
        written = (*proposals[row][:accepted], int(found.token[row]))
        rest = k - accepted
        following = texts_after(target, written[-1], rest)
        total[written] += weight * following
    return total


def texts_after(target: np.ndarray, word: int, length: int) -> np.ndarray | float:
    """Chance of every text of so many words behind a word."""
    if length == 0:
        return 1.0
    chances = target[word]
    for _ in range(length - 1):
        chances = chances[..., None] * target
    return chances


@pytest.mark.parametrize("distance", [0.0, 0.2, 1.0], ids=["equal", "near", "far"])
@pytest.mark.parametrize("k", range(1, 8))
def test_every_path_of_a_round_adds_up_to_the_targets_distribution(k: int, distance: float) -> None:
    target, draft = tables(3 if k < 4 else 2, distance, seed=k)
    assert round_of(target, draft, k) == pytest.approx(texts(target, k + 1), abs=1e-12)


def test_the_enumeration_sees_a_rule_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words drawn from p and not from max(p - q, 0) after a rejection are not the target's."""
    target, draft = tables(3, 1.0)
    monkeypatch.setattr(torch.Tensor, "clamp_min", lambda self, floor: torch.zeros_like(self))
    assert round_of(target, draft, 2) != pytest.approx(texts(target, 3), abs=1e-3)


def test_proposals_beyond_the_count_are_not_looked_at() -> None:
    chances = torch.tensor([[0.25, 0.75]]).expand(2, 3, 2)
    proposed, uniform = torch.tensor([[1, 1], [1, 1]]), torch.zeros(2, 3, 2, dtype=torch.float64)
    found = verify(chances, chances[:, :2], proposed, torch.tensor([0, 2]), uniform)
    assert found.accepted.tolist() == [0, 2]
    assert found.token.tolist() == [0, 0]


def test_a_rejection_that_leaves_nothing_to_draw_from_is_the_targets_own() -> None:
    """Rounding may have q above p everywhere."""
    target = torch.tensor([[[0.5, 0.499999]]]).expand(1, 2, 2)
    draft = torch.tensor([[[0.5, 0.5]]])
    uniform = torch.full((1, 2, 2), 1 - 1e-12, dtype=torch.float64)
    found = verify(target, draft, torch.tensor([[1]]), torch.tensor([1]), uniform)
    assert (int(found.accepted), int(found.token)) == (0, 1)


def test_the_overlap_is_one_less_half_the_distance() -> None:
    target, draft = (torch.from_numpy(table) for table in tables(5, 0.7))
    expected = 1 - 0.5 * (target - draft).abs().sum(-1)
    assert torch.allclose(overlap(target, draft), expected, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"top_k": 2}, {"temperature": 0}])
def test_the_shaped_distribution_is_the_one_that_text_is_drawn_from(settings: dict) -> None:
    logits = torch.tensor([[[1.0, 3.0, 2.0]], [[0.0, -1.0, 0.5]]])
    found = shaped(logits, Sampling(**settings))
    assert torch.allclose(found.sum(-1), torch.ones(2, 1))
    expected = {
        "": logits.softmax(-1),
        "temperature": (logits / 0.5).softmax(-1),
        "top_k": logits.where(logits >= logits.sort(-1).values[..., 1:2], -torch.inf).softmax(-1),
    }
    if settings.get("temperature") == 0:
        assert found.tolist() == [[[0, 1, 0]], [[0, 0, 1]]]
    else:
        assert torch.allclose(found, expected[next(iter(settings), "")])
