"""Shapes that annotations name are checked while tests run."""

import pytest
import torch
from jaxtyping import TypeCheckError

from distillkit.core.types import Batch
from distillkit.divergences.kl import ForwardKL
from distillkit.models.products import project
from distillkit.supports.base import merge

EVEN = torch.full((3, 4), 0.25).log()


def test_sides_of_different_supports_are_not_compared() -> None:
    assert ForwardKL()(EVEN, EVEN).shape == (3,)
    with pytest.raises(TypeCheckError):
        ForwardKL()(EVEN, EVEN[:, :2])


def test_what_broadcasts_is_no_shape_that_fits() -> None:
    with pytest.raises(TypeCheckError):
        ForwardKL()(EVEN, EVEN[:1])
    with pytest.raises(TypeCheckError):
        ForwardKL()(EVEN, EVEN[0])


def test_ids_are_whole_numbers_of_every_position() -> None:
    ids = torch.zeros(3, 1, dtype=torch.long)
    assert merge(EVEN, ids)[0].shape == (3, 2)
    for wrong in (ids.float(), ids[:, 0], ids[:2]):
        with pytest.raises(TypeCheckError, match="ids"):
            merge(EVEN, wrong)


def test_a_width_is_that_of_the_weight() -> None:
    assert project(torch.ones(3, 2), torch.ones(5, 2)).shape == (3, 5)
    with pytest.raises(TypeCheckError):
        project(torch.ones(3, 2), torch.ones(2, 5))


def test_a_batch_has_as_many_columns_as_rows() -> None:
    tokens, packed = torch.ones(2, 3, dtype=torch.long), torch.ones(4, dtype=torch.long)
    Batch(tokens, tokens, packed, packed, packed)
    with pytest.raises(TypeCheckError):
        Batch(tokens, tokens, packed, packed[:3], packed)
