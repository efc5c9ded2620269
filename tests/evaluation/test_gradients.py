"""Noise, length and direction of random gradients, against draws whose moments are known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from distillkit.evaluation.gradients import GradientRow, Gradients, flat

WIDTH = 50


def rows(count: int, *, noise: float, seed: int = 0) -> dict[str, GradientRow]:
    """Draws of a reference, of one at right angles to half of it, and of one that shares its noise.

    The reference's mean is 1 in the first two directions; the other's is 3 in the first.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, other = torch.zeros(WIDTH), torch.zeros(WIDTH)
    mean[:2], other[0] = 1, 3
    found = Gradients(["reference", "turned", "shared"])
    for _ in range(count):
        shaken = noise * torch.randn(WIDTH, generator=generator)
        own = noise * torch.randn(WIDTH, generator=generator)
        found.add({"reference": mean + shaken, "turned": other + own, "shared": other + shaken})
    return {row.estimator: row for row in found.rows()}


def test_without_noise_lengths_and_cosines_are_exact() -> None:
    found = rows(2, noise=0.0)
    assert found["reference"].noise == 0
    assert found["reference"].length == pytest.approx(2**0.5)
    assert found["reference"].cosine == pytest.approx(1)
    assert found["turned"].length == pytest.approx(3)
    assert found["turned"].cosine == pytest.approx(0.5**0.5)


def test_noise_is_the_standard_deviation_and_biases_neither_length_nor_cosine() -> None:
    """Noise that two estimators share must not make them look alike."""
    each = [rows(40, noise=0.3, seed=seed) for seed in range(60)]
    for name, length, cosine in (("turned", 3.0, 0.5**0.5), ("shared", 3.0, 0.5**0.5)):
        assert np.mean([row[name].noise for row in each]) == pytest.approx(
            0.3 * WIDTH**0.5, rel=0.02
        )
        assert np.mean([row[name].length for row in each]) == pytest.approx(length, rel=0.02)
        cosines = [row[name].cosine for row in each]
        assert np.mean(cosines) == pytest.approx(
            cosine, abs=3 * np.std(cosines) / len(cosines) ** 0.5
        )


def test_what_noise_hides_is_left_out() -> None:
    found = rows(4, noise=20.0)
    assert found["reference"].length is None
    assert {row.cosine for row in found.values()} == {None}
    assert found["turned"].noise == pytest.approx(20 * WIDTH**0.5, rel=0.2)


def test_gradients_are_laid_end_to_end() -> None:
    parts: list[Tensor] = [torch.arange(4.0).view(2, 2), torch.tensor([9.0])]
    assert flat(parts).tolist() == [0, 1, 2, 3, 9]
