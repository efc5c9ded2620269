"""Draws that are all the same have no noise, and no root of a negative number."""

import torch

from distillkit.evaluation.gradients import Gradients


def test_equal_draws_have_no_noise() -> None:
    gradients = Gradients(["reference", "same"])
    draw = torch.full((7,), 0.1) / 3
    for _ in range(3):
        gradients.add({"reference": draw, "same": draw})
    for row in gradients.rows():
        assert row.noise == 0
        assert abs((row.cosine or 0) - 1) < 1e-9
