"""The written-out decoding step: what the model's own forward pass gives, for models it knows."""

import pytest
import torch
from torch import nn

from distillkit.models.decoder import Decoder, decodes
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.linear import Linear
from distillkit.models.module_decoder import ModuleDecoder
from distillkit.models.sampling import Sampling
from tests.tiny import FAMILIES, build

KNOWN = ["llama", "qwen2", "qwen3", "mistral"]
WIDTH = 5
REAL = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]], dtype=torch.bool)


def states(decoder: Decoder | ModuleDecoder, *, padded: bool) -> list[torch.Tensor]:
    """Hidden states over a prompt, two tokens, a row that leaves, and another token."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(2, 300, (3, WIDTH + 3), generator=generator)
    mask = REAL if padded else torch.ones_like(REAL)
    found = [
        decoder(tokens[:, :WIDTH], (mask.cumsum(-1) - 1).clamp_min(0), mask if padded else None)
    ]
    position = mask.sum(-1, keepdim=True)
    for step in range(3):
        if step == 2:
            keep = torch.tensor([0, 2])
            decoder.keep(keep)
            tokens, mask, position = tokens[keep], mask[keep], position[keep]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        column = tokens[:, WIDTH + step : WIDTH + step + 1]
        found.append(decoder(column, position, mask if padded else None))
        position = position + 1
    return found


def decoders(model: LanguageModel, dtype: torch.dtype) -> list[Decoder | ModuleDecoder]:
    model.module.eval()
    fast = Decoder(model.module, rows=3, length=WIDTH + 3, dtype=dtype)
    return [fast, ModuleDecoder(model.body, model.module.config)]


@pytest.mark.parametrize("family", KNOWN)
@pytest.mark.parametrize("padded", [True, False], ids=["padded", "even"])
@torch.inference_mode()
def test_hidden_states_are_those_of_the_models_own_forward_pass(family: str, padded: bool) -> None:
    model = build(family, seed=4, num_key_value_heads=1, num_attention_heads=4, head_dim=6)
    assert decodes(model.module)
    for found, expected in zip(
        *(states(decoder, padded=padded) for decoder in decoders(model, torch.float32)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.inference_mode()
def test_bf16_arithmetic_stays_near_fp32(precision: str) -> None:
    model = build("qwen3", seed=4, precision=precision)
    assert model.autocast == (precision == "bf16")
    fast, own = (states(item, padded=True) for item in decoders(model, torch.bfloat16))
    for found, expected in zip(fast, own, strict=True):
        assert (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_only_models_that_it_computes_are_decoded_by_it() -> None:
    assert {family for family in FAMILIES if decodes(build(family).module)} == set(KNOWN)


@pytest.mark.parametrize(
    "shape",
    [
        {"family": "mistral", "sliding_window": 4},
        {
            "family": "qwen2",
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 0,
        },
        {
            "family": "llama",
            "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
        },
    ],
    ids=str,
)
def test_windows_and_rotations_that_change_with_length_are_left_to_the_model(shape: dict) -> None:
    assert not decodes(build(**shape).module)


def test_rotations_that_are_only_scaled_are_decoded() -> None:
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    model = build("llama", seed=4, rope_parameters=scaled)
    assert decodes(model.module)
    with torch.inference_mode():
        fast, own = (states(item, padded=True) for item in decoders(model, torch.float32))
    torch.testing.assert_close(fast, own, rtol=1e-4, atol=1e-5)


def test_a_layer_that_carries_an_adapter_is_left_to_the_model() -> None:
    class Adapted(nn.Linear):
        """A projection with an update beside its weight."""

    model = build("llama")
    model.module.base_model.layers[1].mlp.up_proj.__class__ = Adapted
    assert not decodes(model.module)


def test_a_decoder_reads_the_weights_as_they_are_now() -> None:
    model, sampling = build("llama", seed=2), Sampling(temperature=0, max_new_tokens=6)
    before = generate(model, [[50, 60]], sampling, seed=0)
    with torch.no_grad():
        for layer in model.module.modules():
            if isinstance(layer, Linear):
                layer.weight += 0.3 * torch.randn_like(layer.weight)
    assert generate(model, [[50, 60]], sampling, seed=0) != before
