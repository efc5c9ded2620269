"""Blocks that keep less: the outputs and gradients of transformers' own, to the bit."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.mistral.modeling_mistral import MistralMLP
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP
from transformers.models.qwen3.modeling_qwen3 import Qwen3MLP

from distillkit.models.blocks import GATED, Gated, keep_less
from distillkit.models.linear import quicken

KINDS = [LlamaMLP, MistralMLP, Qwen2MLP, Qwen3MLP]
SIZES = {"small": (16, 24, 5), "large": (128, 256, 300)}
"""Width, width inside and positions of products that go to either library."""


def block(kind: type, width: int, inside: int, **fields: Any) -> nn.Module:
    """One with weights of its own."""
    torch.manual_seed(0)
    given = {"hidden_act": "silu", "mlp_bias": False, **fields}
    config = SimpleNamespace(hidden_size=width, intermediate_size=inside, **given)
    made: nn.Module = kind(config)
    quicken(made)
    return made


def run(part: nn.Module, states: Tensor) -> tuple[list[Tensor], int]:
    """Output and all gradients, and the bytes that were kept beside weights and input."""
    leaf, kept = states.clone().requires_grad_(), {}
    known = {each.untyped_storage()._cdata for each in (leaf, *part.parameters())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = part(leaf)
    output.square().sum().backward()
    found = [output, leaf.grad, *(weight.grad for weight in part.parameters())]
    return found, sum(storage.nbytes() for storage in kept.values())


def both(kind: type, size: str, **how: Any) -> tuple[Any, Any]:
    """transformers' own and ours."""
    width, inside, count = SIZES[size]
    runs = []
    for less in (False, True):
        part = block(kind, width, inside)
        if less:
            keep_less(part)
            assert isinstance(part, Gated)
        states = torch.randn(2, count, width)
        if "dtype" in how:
            part, states = part.to(how["dtype"]), states.to(how["dtype"])
        part.down_proj.requires_grad_(how.get("learns", True))
        around = torch.autocast("cpu", torch.bfloat16) if how.get("autocast") else nullcontext()
        with around:
            runs.append(run(part, states))
    return runs[0], runs[1]


def alike(one: list[Tensor | None], other: list[Tensor | None]) -> bool:
    """Whether both are the same, to the bit."""
    return all(
        left is right is None or torch.equal(left, right)
        for left, right in zip(one, other, strict=True)
    )


def test_the_names_are_those_of_the_classes() -> None:
    assert [kind.__name__ for kind in KINDS] == [*GATED]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_transformers_own_and_half_is_kept(kind: type, size: str) -> None:
    (expected, whole), (found, kept) = both(kind, size)
    assert alike(found, expected)
    _, inside, count = SIZES[size]
    assert whole == 4 * 4 * 2 * count * inside
    assert kept == whole / 2


@pytest.mark.parametrize(
    "how",
    [{"dtype": torch.bfloat16}, {"dtype": torch.float64}, {"autocast": True}, {"learns": False}],
    ids=str,
)
@pytest.mark.parametrize("size", SIZES)
def test_they_are_in_every_type_and_with_frozen_weights(how: dict, size: str) -> None:
    (expected, whole), (found, kept) = both(LlamaMLP, size, **how)
    assert alike(found, expected)
    assert kept < whole


def test_a_bias_and_a_layer_that_is_no_plain_one_are_computed_by_the_layer() -> None:
    class Doubled(nn.Linear):
        def forward(self, states: Tensor) -> Tensor:
            return 2 * super().forward(states)

    for change in ({"mlp_bias": True}, {}):
        runs = []
        for less in (False, True):
            part = block(LlamaMLP, 16, 24, **change)
            if not change:
                part.down_proj.__class__ = Doubled
            if less:
                keep_less(part)
            runs.append(run(part, torch.ones(1, 3, 16)))
        assert alike(runs[0][0], runs[1][0])
        assert runs[1][1] < runs[0][1]


def test_another_activation_is_left_alone() -> None:
    part = block(LlamaMLP, 16, 24, hidden_act="gelu")
    keep_less(part)
    assert type(part) is LlamaMLP


@pytest.mark.parametrize("size", SIZES)
def test_without_a_gradient_the_numbers_are_the_same(size: str) -> None:
    width, inside, count = SIZES[size]
    part, plain = (block(Qwen2MLP, width, inside) for _ in range(2))
    keep_less(part)
    states = torch.randn(2, count, width)
    before = states.clone()
    with torch.no_grad():
        assert torch.equal(part(states), plain(states))
    assert torch.equal(states, before)


def test_twice_is_once() -> None:
    part = block(Qwen2MLP, 16, 24)
    for _ in range(2):
        keep_less(part)
    assert type(part).__mro__[1:3] == (Gated, Qwen2MLP)
