"""Rows end to end on a CPU: padding is read by nobody, and no row sees another."""

import pytest
import torch
from torch import Tensor

from distillkit.models import end_to_end
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.reading import unpad
from tests.tiny import build

PACKED = ["llama", "mistral", "qwen2", "qwen3"]
PROMPTS = [[50, 60, 70, 80, 90, 100], [200, 201], [300, 301, 302, 303, 304, 305, 306]]
RESPONSES = [[10, 11], [20, 21, 22], [30]]
GROUPS = [[50, 60, 70], [200, 201], [50, 60, 70], [7], [200, 201], [50, 60, 70], [50, 60]]
"""Prompts of which some are there several times, and one begins as another does."""
THEIRS = [[10, 11, 12], [20], [13, 14], [30, 31], [21, 22, 23], [15], [70, 71]]


def padded(model: LanguageModel) -> LanguageModel:
    model.module.config._attn_implementation = "sdpa"
    return model


def gradients(
    model: LanguageModel, texts: tuple[list[list[int]], list[list[int]]] = (PROMPTS, RESPONSES)
) -> tuple[Tensor, dict[str, Tensor]]:
    states = model.hidden(model.batch(*texts))
    states.sin().sum().backward()
    named = model.module.named_parameters()
    return states.detach(), {name: each.grad for name, each in named if each.grad is not None}


@pytest.mark.parametrize("family", PACKED)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    "texts", [(PROMPTS, RESPONSES), (GROUPS, THEIRS)], ids=["rows", "branches"]
)
def test_states_and_gradients_are_those_of_padded_rows(
    family: str, texts: tuple[list[list[int]], list[list[int]]], *, kept: bool
) -> None:
    models = [build(family), padded(build(family))]
    if not kept:
        for model in models:
            model.module.gradient_checkpointing_enable({"use_reentrant": False})
            model.narrowed = None
    for model in models:
        model.learn(dropout=False)
    assert [model.packs for model in models] == [True, False]
    (states, found), (whole, expected) = (gradients(model, texts) for model in models)
    torch.testing.assert_close(states, whole, rtol=1e-5, atol=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_a_row_is_what_it_is_alone_whatever_stands_before_it() -> None:
    model = build("llama")
    with evaluating(model):
        alone = model.hidden(model.batch(PROMPTS[1:2], RESPONSES[1:2]))
        for before in ([[7] * 9], [[9, 8]]):
            both = model.batch([*before, PROMPTS[1]], [[5], RESPONSES[1]])
            torch.testing.assert_close(model.hidden(both)[1:], alone, rtol=1e-5, atol=1e-6)


def test_only_tokens_that_are_read_go_through_the_body() -> None:
    model, seen = build("llama"), []
    model.learn(dropout=False)
    layer = model.module.model.layers[0]
    layer.self_attn.q_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    model.hidden(model.batch(PROMPTS, RESPONSES))
    model.hidden(model.batch([[5, 6], [7, 8]], [[10, 11, 12], [13, 14, 15]]))
    # Each prompt once, and of every response all but the last.
    model.hidden(model.batch(GROUPS, THEIRS))
    model.hidden(model.batch([[5, 6, 7, 8]] * 3, [[10, 11]] * 3))
    assert [tuple(shape[:2]) for shape in seen] == [(1, 18), (2, 4), (1, 15), (1, 7)]


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_what_learns_with_dropout_reads_each_prompt_for_itself(rate: float) -> None:
    model, read = build("llama", attention_dropout=rate), []
    for dropout in (False, True):
        model.learn(dropout=dropout)
        read.append(model.form.lay_out(model.batch(GROUPS, THEIRS)).among)
    with evaluating(model):
        read.append(model.form.lay_out(model.batch(GROUPS, THEIRS)).among)
    assert read == [15, 23 if rate else 15, 15]


def test_dropout_drops_in_every_row() -> None:
    model = build("llama", attention_dropout=0.5)
    assert model.packs
    model.learn(dropout=False)
    calm = model.hidden(model.batch(PROMPTS, RESPONSES))
    model.learn(dropout=True)
    torch.manual_seed(0)
    first = model.hidden(model.batch(PROMPTS, RESPONSES))
    torch.manual_seed(0)
    again = model.hidden(model.batch(PROMPTS, RESPONSES))
    assert torch.equal(first, again)
    assert all((first - calm).abs().amax(-1) > 1e-4)


@pytest.mark.parametrize(
    ("family", "settings"),
    [("gpt2", {}), ("mistral", {"sliding_window": 4}), ("gemma2", {})],
)
def test_others_stay_padded(family: str, settings: dict[str, int]) -> None:
    assert not build(family, **settings).packs


def test_what_the_user_asked_for_stays() -> None:
    model = build("llama")
    model.module.config._attn_implementation = "eager"
    with evaluating(model):
        unpad(model)
    assert model.module.config._attn_implementation == "eager"


def test_a_model_that_reads_otherwise_end_to_end_stays_padded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = padded(build("llama"))
    monkeypatch.setattr(end_to_end, "_pieces", lambda positions: ([len(positions)], []))
    with evaluating(model):
        unpad(model)
    assert not model.packs


def test_a_model_whose_branches_lose_their_prompt_stays_padded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, pieces = padded(build("llama")), end_to_end._pieces
    monkeypatch.setattr(end_to_end, "_pieces", lambda positions: (pieces(positions)[0], []))
    with evaluating(model):
        unpad(model)
    assert not model.packs


def test_nothing_of_it_is_saved(tmp_path) -> None:
    model = build("llama")
    assert model.packs
    model.save(tmp_path)
    assert end_to_end.NAME not in (tmp_path / "config.json").read_text()
