"""The last layer's block works where it is read: the same states and gradients for less work."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.narrowing import last_block, only_at
from distillkit.models.reading import narrow
from tests.tiny import FAMILIES, build

PROMPTS = [[50, 60, 70, 80, 90, 100], [200, 201], [300, 301, 302, 303, 304, 305, 306]]
RESPONSES = [[10, 11], [20, 21, 22], [30]]


def gradients(model: LanguageModel) -> tuple[Tensor, dict[str, Tensor]]:
    """Packed states, and what a sum over them gives every parameter."""
    model.module.zero_grad()
    states = model.hidden(model.batch(PROMPTS, RESPONSES))
    states.sin().sum().backward()
    named = model.module.named_parameters()
    return states.detach(), {name: each.grad for name, each in named if each.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_gradients_are_those_of_the_whole_batch(family: str) -> None:
    model = build(family)
    states, found = gradients(model)
    assert model.narrowed is not None or family.startswith("opt")
    model.narrowed = None
    whole, expected = gradients(model)
    torch.testing.assert_close(states, whole, rtol=1e-5, atol=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_block_sees_what_is_read_and_no_more() -> None:
    model, seen = build("llama"), []
    assert model.narrowed is model.module.model.layers[-1].mlp
    for layer in model.module.model.layers:
        layer.mlp.gate_proj.register_forward_hook(
            lambda _, given, __: seen.append(len(given[0][0]))
        )
    model.hidden(model.batch(PROMPTS, RESPONSES))
    assert seen[-1] == sum(map(len, RESPONSES))
    # Where nearly all is read, nothing is copied.
    seen.clear()
    model.hidden(model.batch([[1], [2]], [[3, 4, 5, 6, 7], [8, 9, 3, 4, 5]]))
    assert seen[-1] == 5


def test_a_block_that_drops_works_on_the_whole_batch_while_it_learns() -> None:
    model, seen = build("gpt2", resid_pdrop=0.1), []
    block = model.module.transformer.h[-1].mlp
    assert model.narrowed is block
    block.c_fc.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[:2]))
    for dropout in (True, False):
        model.learn(dropout=dropout)
        model.hidden(model.batch(PROMPTS, RESPONSES))
    assert seen == [(3, 7), (1, 6)]


class Shifting(nn.Module):
    """A block that looks at the position before."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, states: Tensor) -> Tensor:
        return self.inner(states + states.roll(1, dims=1))


class Wanting(Shifting):
    """A block that is given more than states."""

    def forward(self, states: Tensor, more: int = 1) -> Tensor:
        return self.inner(states) * more


def test_a_block_that_looks_at_its_neighbours_works_on_the_whole_batch() -> None:
    model = build("llama")
    last = model.module.model.layers[-1]
    last.mlp = Shifting(last.mlp)
    with evaluating(model):
        narrow(model)
    assert model.narrowed is None


def test_a_block_that_wants_more_works_on_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama")
    last = model.module.model.layers[-1]
    last.mlp = Wanting(last.mlp)
    call = nn.Module.__call__

    def given(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return call(self, args[0], 2) if isinstance(self, Wanting) else call(self, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__call__", given)
    with evaluating(model):
        narrow(model)
    assert model.narrowed is None
    assert not last.mlp._forward_pre_hooks
    assert not last.mlp._forward_hooks


def test_what_is_recomputed_is_left_whole() -> None:
    model = build("llama")
    model.module.gradient_checkpointing_enable({"use_reentrant": False})
    assert last_block(model.module) is None


def test_other_positions_are_given_zeros() -> None:
    block, states = nn.Linear(3, 3), torch.randn(2, 4, 3)
    with only_at(block, torch.tensor([1, 6])):
        found = block(states)
    assert torch.equal(found[0, 1], block(states)[0, 1])
    assert torch.equal(found[1, 2], block(states)[1, 2])
    assert found.abs().sum(-1).count_nonzero() == 2
