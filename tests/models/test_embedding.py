"""The embedding's gradient is added where the head's is: the same numbers, and no second tensor."""

import copy

import pytest
import torch
from torch import nn

from distillkit.models.embedding import Embedding, add_in_place

IDS = torch.tensor([[3, 1, 3, 0], [3, 8, 0, 9]])


def pair(padding: int | None) -> tuple[nn.Embedding, nn.Embedding]:
    torch.manual_seed(0)
    plain = nn.Embedding(10, 4, padding_idx=padding)
    ours = nn.ModuleList([copy.deepcopy(plain)])
    add_in_place(ours)
    assert type(ours[0]) is Embedding
    return plain, ours[0]


@pytest.mark.parametrize("padding", [None, 0])
@pytest.mark.parametrize("begun", [True, False])
def test_its_gradient_is_torchs_own_to_the_bit(padding: int | None, *, begun: bool) -> None:
    layers, held = pair(padding), torch.randn(10, 4)
    for layer in layers:
        layer.weight.grad = held.clone() if begun else None
        for _ in range(2):
            found = layer(IDS)
            (found * torch.arange(found.numel()).view(found.shape).sin()).sum().backward()
    plain, ours = (layer.weight.grad for layer in layers)
    assert torch.equal(layers[0](IDS), layers[1](IDS))
    assert torch.equal(ours, plain)
    assert not begun or not torch.equal(ours, held)


def test_it_keeps_the_tensor_that_a_head_has_begun() -> None:
    _, ours = pair(None)
    held = ours.weight.grad = torch.zeros(10, 4)
    ours(IDS).sum().backward()
    assert ours.weight.grad is held
    assert held[3].tolist() == [3.0] * 4


def test_frozen_and_special_embeddings_are_left_to_torch() -> None:
    _, ours = pair(None)
    ours.requires_grad_(False)
    assert not ours(IDS).requires_grad
    special = nn.ModuleList([nn.Embedding(10, 4, max_norm=1.0), nn.Embedding(10, 4, sparse=True)])
    add_in_place(special)
    assert [type(each) for each in special] == [nn.Embedding] * 2
