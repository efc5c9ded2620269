"""Generation: greedy as transformers does it, sampled as the softmax says, ended where it ends."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from distillkit.core.errors import ConfigError, DataError, ModelError
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.loading import load
from distillkit.models.module_decoder import ModuleDecoder
from distillkit.models.pretrained import Student
from distillkit.models.sampling import Sampling
from tests.models.exact import filtered, next_logits, p_value, softmax
from tests.tiny import CPU, ENTRIES, FAMILIES, build, save

PROMPTS = [
    [50, 60, 70, 80, 90, 100, 110],
    [200],
    [300, 301, 302],
    [44, 55, 66, 77, 88],
    [5, 6],
    [120, 121, 122],
]
OFTEN_ENDING = frozenset(range(1, ENTRIES, 7))
"""End tokens so many that responses end at different lengths."""


def by_transformers(model: LanguageModel, length: int) -> list[tuple[int, ...]]:
    """Greedy responses of ``model.generate``, cut after the first end token."""
    width = max(map(len, PROMPTS))
    tokens = torch.tensor([[0] * (width - len(p)) + p for p in PROMPTS])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in PROMPTS])
    model.module.eval()
    rows = model.module.generate(
        input_ids=tokens,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=length,
        eos_token_id=sorted(model.stop_ids),
        pad_token_id=0,
    )
    responses = []
    for row in rows[:, width:].tolist():
        ends = [place for place, token in enumerate(row) if token in model.stop_ids]
        responses.append(tuple(row[: ends[0] + 1] if ends else row))
    return responses


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers_for_prompts_of_different_lengths(family: str) -> None:
    model = build(family, seed=3)
    model.stop_ids = OFTEN_ENDING
    written = generate(model, PROMPTS, Sampling(temperature=0, max_new_tokens=12), seed=0)
    expected = by_transformers(model, 12)
    assert [text.tokens for text in written] == expected
    assert len({len(text.tokens) for text in written}) > 1


def test_greedy_never_names_a_padding_row_of_the_head() -> None:
    model = build("llama", vocab_size=448, tied=False)
    with torch.no_grad():
        model.head.weight[ENTRIES:] *= 1000
    for temperature in (0.0, 1.0):
        sampling = Sampling(temperature=temperature, max_new_tokens=20)
        for text in generate(model, PROMPTS, sampling, seed=0):
            assert max(text.tokens) < ENTRIES


def test_batch_size_and_neighbours_do_not_change_a_greedy_response() -> None:
    model = build("llama", seed=3)
    model.stop_ids = OFTEN_ENDING
    whole, small = (
        generate(
            model, PROMPTS, Sampling(temperature=0, batch_size=size, max_new_tokens=12), seed=0
        )
        for size in (256, 2)
    )
    assert whole == small


def test_a_response_ends_at_its_first_end_token_and_a_cut_one_carries_none() -> None:
    """Trap 19: nothing is appended to a truncated response, nothing follows the first end."""
    model = build("llama", seed=1)
    model.stop_ids = OFTEN_ENDING
    written = generate(model, PROMPTS * 20, Sampling(max_new_tokens=6), seed=0)
    assert {text.truncated for text in written} == {True, False}
    for text in written:
        assert not OFTEN_ENDING & set(text.tokens[:-1])
        assert text.truncated == (text.tokens[-1] not in OFTEN_ENDING)
        assert len(text.tokens) == 6 or not text.truncated


def test_a_response_that_ends_exactly_at_the_limit_is_not_truncated() -> None:
    """Trap 19."""
    model = build("llama")
    model.stop_ids = frozenset(range(ENTRIES))
    written = generate(model, PROMPTS, Sampling(max_new_tokens=1), seed=0)
    assert [(len(text.tokens), text.truncated) for text in written] == [(1, False)] * len(PROMPTS)


def leaky_model(folder: Path) -> LanguageModel:
    """A model whose own generation settings filter hard, as saved in its folder."""
    save(folder, "llama", seed=2)
    GenerationConfig(
        do_sample=True,
        top_k=1,
        top_p=0.1,
        temperature=0.01,
        repetition_penalty=5.0,
        eos_token_id=1,
        pad_token_id=0,
    ).save_pretrained(folder)
    model = load(Student(name=str(folder)), device=CPU, precision="fp32")
    assert model.module.generation_config.top_k == 1
    assert model.module.generation_config.repetition_penalty == 5.0
    return model


def test_the_models_own_generation_settings_never_leak_into_sampling(tmp_path: Path) -> None:
    """Trap 23: both sampled tokens follow the full softmax, not the model's top-k of 1."""
    model, prompt = leaky_model(tmp_path), [50, 60, 70]
    sampling = Sampling(max_new_tokens=2, batch_size=4000)
    written = generate(model, [prompt] * 4000, sampling, seed=0)
    first = softmax(next_logits(model, [prompt]))[0]
    then = softmax(next_logits(model, [[*prompt, token] for token in range(ENTRIES)]))
    assert p_value([text.tokens[0] for text in written], first) > 0.01
    first[1] = 0
    second = first / first.sum() @ then
    assert p_value([text.tokens[1] for text in written if len(text.tokens) == 2], second) > 0.01


FILTERS = [
    {"temperature": 0.7},
    {"temperature": 1.6},
    {"top_k": 7},
    {"top_p": 0.6},
    {"min_p": 0.1},
    {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
]


@pytest.mark.parametrize("settings", FILTERS, ids=str)
def test_sampling_follows_the_exact_filtered_distribution(settings: dict) -> None:
    """Trap 23: and each setting does something, or the neutral distribution would fit as well."""
    model, prompt = build("llama", seed=2), [50, 60, 70]
    sampling = Sampling(max_new_tokens=1, batch_size=4000, **settings)
    drawn = [text.tokens[0] for text in generate(model, [prompt] * 4000, sampling, seed=1)]
    logits = next_logits(model, [prompt])[0]
    assert p_value(drawn, filtered(logits, **settings)) > 0.01
    assert p_value(drawn, filtered(logits)) < 1e-6


def test_the_log_probs_kept_are_those_of_the_distribution_drawn_from() -> None:
    """Nothing needs to be scored again, whatever the filters were."""
    for settings in ({}, {"temperature": 0.7, "top_k": 40, "top_p": 0.9}):
        for family in ("qwen3", "gpt2"):
            model = build(family, seed=2)
            written = generate(model, PROMPTS, Sampling(max_new_tokens=5, **settings), seed=3)
            for prompt, text in zip(PROMPTS, written, strict=True):
                assert len(text.log_probs) == len(text.tokens)
                for place, (token, found) in enumerate(
                    zip(text.tokens, text.log_probs, strict=True)
                ):
                    logits = next_logits(model, [[*prompt, *text.tokens[:place]]])[0]
                    expected = np.log(filtered(logits, **settings)[token])
                    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_sampled_response_does_not_depend_on_the_rows_beside_it(family: str) -> None:
    model = build(family, seed=1)
    model.stop_ids = OFTEN_ENDING
    whole, alone = (
        generate(model, PROMPTS, Sampling(max_new_tokens=12, batch_size=size), seed=7)
        for size in (256, 1)
    )
    assert [text.tokens for text in whole] == [text.tokens for text in alone]
    assert len({len(text.tokens) for text in whole}) > 1


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "gemma3"])
def test_a_prompt_of_several_responses_is_read_once(
    family: str, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, read = build(family, seed=1), []
    model.stop_ids = OFTEN_ENDING
    ways = model._ways(lambda **_: ModuleDecoder(model.body, model.module.config))
    way = model.way = ways[0 if cached else -1]
    prompts = [PROMPTS[row] for row in (0, 3, 0, 0, 3, 1)]
    kind = type(way.ready()(rows=1, length=1))
    call = kind.__call__
    monkeypatch.setattr(
        kind, "__call__", lambda self, ids, *rest: read.append(ids.shape) or call(self, ids, *rest)
    )
    together, alone = (
        generate(model, prompts, Sampling(max_new_tokens=12, batch_size=size), seed=7)
        for size in (256, 1)
    )
    assert [text.tokens for text in together] == [text.tokens for text in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)
    assert len({text.tokens for text in together}) == len(prompts)
    # A row may have ended with its first token.
    (first, width), (rows, one) = read[:2]
    assert (first, width, one) == (3, 7, 1)
    assert rows > first


def test_the_neighbours_context_does_not_shorten_a_response() -> None:
    model = build("llama", context=16)
    model.stop_ids = frozenset()
    prompts = [[5] * 14, [6] * 4]
    written = generate(model, prompts, Sampling(temperature=0, max_new_tokens=10), seed=0)
    assert [len(text.tokens) for text in written] == [2, 10]
    alone = generate(model, prompts[1:], Sampling(temperature=0, max_new_tokens=10), seed=0)
    assert written[1] == alone[0]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_refused(family: str, temperature: float) -> None:
    for value in (torch.nan, torch.inf):
        model = build(family, tied=False)
        with torch.no_grad():
            model.head.weight[3] = value
        sampling = Sampling(temperature=temperature, max_new_tokens=3)
        with pytest.raises(ModelError, match="logits are not finite while it writes"):
            generate(model, PROMPTS, sampling, seed=0)


def test_the_seed_fixes_the_text_and_the_global_generator_is_left_alone() -> None:
    model, sampling = build("llama"), Sampling(max_new_tokens=10)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    texts = [generate(model, PROMPTS, sampling, seed=seed) for seed in (4, 4, 5)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("training", [True, False])
def test_generating_restores_the_mode_it_found(training: bool) -> None:
    """Trap 31."""
    model = build("gpt2", attn_pdrop=0.5)
    model.module.train(training)
    generate(model, PROMPTS, Sampling(max_new_tokens=2), seed=0)
    assert {part.training for part in model.module.modules()} == {training}


def test_the_mode_is_restored_after_an_exception() -> None:
    """Trap 31."""
    model = build("llama")

    def stop() -> None:
        assert not model.module.training
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(model, PROMPTS, Sampling(max_new_tokens=2), seed=0, poll=stop)
    assert model.module.training
    assert torch.is_grad_enabled()
    with pytest.raises(RuntimeError, match="on purpose"), evaluating(model):
        raise RuntimeError("on purpose")
    assert model.module.training


def test_dropout_is_off_while_generating_and_evaluating() -> None:
    """Trap 31: a greedy response of a model in training mode is that of the model at rest."""
    model = build("gpt2", resid_pdrop=0.9, embd_pdrop=0.9)
    greedy = Sampling(temperature=0, max_new_tokens=8)
    model.module.train()
    learning = generate(model, PROMPTS, greedy, seed=0)
    model.module.eval()
    assert generate(model, PROMPTS, greedy, seed=0) == learning


def test_a_prompt_that_fills_the_context_is_refused_not_cut() -> None:
    """Trap 22."""
    model = build("llama", context=16)
    with pytest.raises(DataError, match="16 tokens fills the model's context of 16"):
        generate(model, [[5] * 16], Sampling(), seed=0)


def test_a_response_never_outgrows_the_context() -> None:
    model = build("gpt2", context=16)
    written = generate(model, [[5] * 14], Sampling(temperature=0, max_new_tokens=50), seed=0)
    assert len(written[0].tokens) <= 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": 1.0},
        {"max_new_tokens": 0},
        {"batch_size": 0},
    ],
    ids=str,
)
def test_a_sampling_setting_out_of_range_is_refused_by_name(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=rf"rollout\.{next(iter(wrong))}"):
        Sampling(**wrong)
