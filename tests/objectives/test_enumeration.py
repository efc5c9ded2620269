"""The ground that the exact gradients stand on: probabilities and derivatives by hand."""

import pytest
import torch

from tests.objectives.enumeration import (
    END,
    along,
    prefixes,
    responses,
    scores,
    single_steps,
    slope,
    world,
)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_the_responses_are_all_there_are(limit: int, alpha: float) -> None:
    made, found = world(1, alpha=alpha), responses(limit)
    assert len(found) == len(set(found)) == 2 ** (limit + 1) - 1
    assert sum(text[-1] != END for text in found) == 2**limit
    assert len(prefixes(limit)) == 2**limit - 1
    assert sum(made.probability(text) for text in found) == pytest.approx(1, abs=1e-12)


def test_derivatives_by_hand_are_those_of_autograd() -> None:
    made, text = world(2), (2, 1, 1, END)
    likely = slope(lambda q: along(q, text).sum(), made.student)
    torch.testing.assert_close(scores(made, text).sum(0), likely)
    rows = [2, 2, 1, 1]
    apart = slope(lambda q: (q.exp() * (q - made.p)).sum(-1)[rows].sum(), made.student)
    torch.testing.assert_close(single_steps(made, text).sum(0), apart)
