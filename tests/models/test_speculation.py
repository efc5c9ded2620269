"""Speculative decoding: the target's text, whatever the draft; its opinion kept on the way."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from distillkit.core.errors import DataError, ModelError
from distillkit.core.types import Author
from distillkit.models.generation import generate
from distillkit.models.language_model import Draft, LanguageModel
from distillkit.models.reading import UNCACHED
from distillkit.models.sampling import Sampling
from distillkit.models.side import Ready, Side
from distillkit.models.speculation import Batch, Speculated, Speculator
from tests.models.exact import next_logits, p_value, softmax
from tests.models.test_generation import OFTEN_ENDING, PROMPTS
from tests.tiny import FAMILIES, build

ENTRIES, WIDTH, WORDS = 382, 16, 8


def speculate(
    target: LanguageModel, draft: LanguageModel, *, k: int = 3, labels: int = 0, **settings: object
) -> list[Speculated]:
    """Responses to the usual prompts."""
    sampling = Sampling(**settings)
    writer = Speculator(Ready(target), Ready(draft), k=k, labels=labels)
    return writer.write(PROMPTS, PROMPTS, sampling, seed=7, author=Author.teacher)


def near(model: LanguageModel, distance: float, family: str) -> LanguageModel:
    """A model whose weights are so far on the way to another one's."""
    draft, far = build(family, seed=3), build(family, seed=4)
    with torch.no_grad():
        for own, other in zip(draft.module.parameters(), far.module.parameters(), strict=True):
            own.lerp_(other, distance)
    return draft


@pytest.mark.parametrize("distance", [0.0, 0.1, 1.0], ids=["equal", "near", "far"])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_the_targets_to_the_letter(family: str, distance: float) -> None:
    target = build(family, seed=3)
    target.stop_ids = OFTEN_ENDING
    draft = near(target, distance, family)
    every = [*product(range(1, 8), (1, 8))]
    for k, rows in every if family == "llama" else [(3, 8), (7, 1)]:
        settings = {"temperature": 0.0, "max_new_tokens": 12, "batch_size": rows}
        expected = generate(target, PROMPTS, Sampling(**settings), seed=0, author=Author.teacher)
        found = speculate(target, draft, k=k, **settings)
        assert [each.response for each in found] == expected


def bigrams(chances: dict[int, list[float]]) -> LanguageModel:
    """A model of transformers that says these chances of the first words after each word."""
    model = build("llama", tied=False, num_hidden_layers=1, hidden_size=WIDTH, context=16)
    table = torch.full((ENTRIES, WIDTH), -100.0)
    for word, row in chances.items():
        table[: len(row), word] = torch.tensor(row).log()
    with torch.no_grad():
        model.module.get_input_embeddings().weight.copy_(torch.eye(ENTRIES, WIDTH))
        model.module.base_model.norm.weight.fill_(1.0)
        model.module.base_model.norm.variance_epsilon = 0.0
        for layer in model.module.base_model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.head.weight.copy_(table / WIDTH**0.5)
    model.stop_ids = frozenset({ENTRIES - 1})
    model.head = replace(model.head, vocabulary=WORDS)
    return model


TARGET = {0: [0.5, 0.25, 0.25], 1: [0.25, 0.25, 0.5], 2: [0.25, 0.5, 0.25]}
DRAFTS = {
    "equal": TARGET,
    "near": {0: [0.25, 0.5, 0.25], 1: [0.25, 0.5, 0.25], 2: [0.5, 0.25, 0.25]},
    "far": {0: [0.25, 0.25, 0.5], 1: [0.5, 0.25, 0.25], 2: [0.25, 0.25, 0.5]},
}


@pytest.mark.parametrize("name", DRAFTS)
@pytest.mark.parametrize("k", [1, 2])
def test_all_draws_together_give_every_text_the_chance_that_the_target_gives_it(
    k: int, name: str
) -> None:
    """Chances are quarters and their ratios halves, so midpoints of a grid stand for all draws."""
    length, fourths, halves = 3, (0.125, 0.375, 0.625, 0.875), (0.25, 0.75)
    grid = [*product(fourths, halves, fourths)]
    uniform = torch.tensor([*product(grid, repeat=length)], dtype=torch.float64)
    prompts = [[0]] * len(uniform)
    target, draft = bigrams(TARGET), bigrams(DRAFTS[name])
    with torch.inference_mode():
        batch = Batch(
            Side(Ready(target), prompts, length + k + 1),
            Side(Ready(draft), prompts, length + k + 1),
            limits=torch.full((len(uniform),), length),
            uniform=uniform,
            stops=torch.tensor(sorted(target.stop_ids)),
            vocabulary=WORDS,
        )
        found = batch.write(Sampling(), k=k, labels=0, author=Author.teacher)
    counts = np.zeros((3, 3, 3))
    for each in found:
        counts[each.response.tokens] += 1 / len(uniform)
    table = np.array([TARGET[word] for word in range(3)])
    expected = table[0][:, None, None] * table[:, :, None] * table[None]
    assert counts == pytest.approx(expected, abs=1e-12)
    accepted = sum(sum(each.accepted) for each in found)
    chances = sum(np.nansum(each.overlaps) for each in found)
    assert accepted == pytest.approx(chances, rel=1e-6)
    assert (accepted == sum(each.verified for each in found)) == (name == "equal")


@pytest.mark.parametrize(
    ("pair", "k"), [("llama-qwen3", 1), ("llama-qwen3", 4), ("qwen3-llama", 7), ("gpt2-llama", 2)]
)
def test_sampled_text_follows_the_targets_softmax_before_and_after_the_draft_moves(
    k: int, pair: str
) -> None:
    families = pair.split("-")
    target, draft = (build(family, seed=3) for family in families)
    target.stop_ids = frozenset({ENTRIES - 1})
    prompt, count = [50, 60, 70], 600 if families[0] == "gpt2" else 2000
    first = softmax(next_logits(target, [prompt]))[0]
    then = softmax(next_logits(target, [[*prompt, token] for token in range(ENTRIES)]))
    going = np.where(np.arange(ENTRIES) == ENTRIES - 1, 0, first)
    sampling = Sampling(max_new_tokens=4, batch_size=count)
    for seed in range(2):
        speculator = Speculator(Ready(target), Ready(draft), k=k)
        prompts = [prompt] * count
        found = speculator.write(prompts, prompts, sampling, seed=seed, author=Author.teacher)
        tokens = [each.response.tokens for each in found]
        assert p_value([text[0] for text in tokens], first) > 0.01
        second = going / going.sum() @ then
        assert p_value([text[1] for text in tokens if len(text) > 1], second) > 0.01
        accepted = sum(sum(each.accepted) for each in found)
        chances = sum(np.nansum(each.overlaps) for each in found)
        assert accepted == pytest.approx(chances, rel=0.1)
        with torch.no_grad():
            for parameter in draft.parameters():
                parameter.mul_(1.5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_response_does_not_depend_on_the_rows_beside_it(family: str, temperature: float) -> None:
    target, draft = build(family, seed=1), build(family, seed=2)
    target.stop_ids = OFTEN_ENDING
    both = [
        speculate(
            target, draft, max_new_tokens=12, batch_size=size, temperature=temperature, labels=4
        )
        for size in (8, 1)
    ]
    together, alone = ([each.response.tokens for each in found] for found in both)
    assert together == alone
    assert len({len(text) for text in together}) > 1
    for one, other in zip(*both, strict=True):
        assert (one.rounds, one.accepted) == (other.rounds, other.accepted)


def test_labels_are_what_the_target_says_of_every_token() -> None:
    target, draft = build("qwen3", seed=3), near(build("qwen3", seed=3), 0.2, "qwen3")
    target.stop_ids = OFTEN_ENDING
    for each, prompt in zip(
        speculate(target, draft, labels=5, max_new_tokens=9, temperature=0.7), PROMPTS, strict=True
    ):
        text = each.response.tokens
        assert each.labels is not None
        assert len(each.labels.ids) == len(text) == len(each.overlaps) == len(each.accepted)
        for place in range(len(text)):
            chances = softmax(next_logits(target, [[*prompt, *text[:place]]]))[0]
            order = np.argsort(-chances)[:5]
            assert each.labels.ids[place].tolist() == order.tolist()
            assert each.labels.log_probs[place].exp() == pytest.approx(chances[order], rel=1e-4)
            rest = chances.sum() - chances[order].sum()
            assert float(each.labels.rest[place].exp()) == pytest.approx(rest, rel=1e-3)


def test_what_is_told_of_proposals_is_what_both_models_say_of_them() -> None:
    target, draft = build("llama", seed=3), near(build("llama", seed=3), 0.3, "llama")
    target.stop_ids = frozenset()
    for each, prompt in zip(speculate(target, draft, max_new_tokens=9), PROMPTS, strict=True):
        text, rounds = each.response.tokens, 0
        for place, (chance, stands) in enumerate(zip(each.overlaps, each.accepted, strict=True)):
            rounds += not stands
            if chance != chance:
                assert not stands
                continue
            both = [
                softmax(next_logits(model, [[*prompt, *text[:place]]]))[0]
                for model in (target, draft)
            ]
            assert chance == pytest.approx(np.minimum(*both).sum(), rel=1e-4)
        assert rounds == each.rounds


def test_a_round_gives_at_most_one_token_more_than_it_proposes() -> None:
    target = build("llama", seed=3)
    target.stop_ids = frozenset()
    for k in (1, 3, 4):
        for each in speculate(target, target, k=k, max_new_tokens=20):
            assert each.rounds == -(-20 // (k + 1))
            assert all(each.accepted[place] for place in range(20) if (place + 1) % (k + 1))


def test_more_proposals_than_a_response_has_room_for_take_no_more_memory() -> None:
    target = build("llama", seed=3)
    target.stop_ids = frozenset()
    for each in speculate(target, target, k=1 << 40, max_new_tokens=6):
        assert (len(each.response.tokens), each.rounds) == (6, 1)


def test_a_draft_without_room_leaves_the_rest_to_the_target() -> None:
    target, draft = build("llama", seed=3), build("llama", seed=3, context=12)
    target.stop_ids = frozenset()
    settings = {"temperature": 0.0, "max_new_tokens": 20}
    expected = generate(target, PROMPTS, Sampling(**settings), seed=0, author=Author.teacher)
    assert [each.response for each in speculate(target, draft, **settings)] == expected
    with pytest.raises(DataError, match="a prompt of 7 tokens fills the model's context of 6"):
        speculate(target, build("llama", seed=3, context=6), **settings)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_a_text_that_fills_the_context_ends_there(family: str) -> None:
    target, draft = build(family, seed=3, context=20), build(family, seed=4, context=20)
    target.stop_ids = frozenset()
    found = speculate(target, draft, k=5, temperature=0.0, max_new_tokens=20)
    expected = generate(
        target, PROMPTS, Sampling(temperature=0, max_new_tokens=20), seed=0, author=Author.teacher
    )
    assert [each.response for each in found] == expected


def test_a_draft_of_fewer_ids_proposes_those_that_it_has() -> None:
    target, draft = build("llama", seed=3), build("llama", seed=4)
    draft.head = replace(draft.head, vocabulary=100)
    found = speculate(target, draft, temperature=0.0, max_new_tokens=9)
    expected = generate(
        target, PROMPTS, Sampling(temperature=0, max_new_tokens=9), seed=0, author=Author.teacher
    )
    assert [each.response for each in found] == expected


def test_a_model_whose_cache_goes_wrong_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    target, draft = build("gpt2", seed=3), build("gpt2", seed=4)
    expected = speculate(target, draft, max_new_tokens=8)
    broken = build("gpt2", seed=3)
    body = broken.module.base_model.forward

    def forward(**inputs: object) -> object:
        if inputs.get("past_key_values") is not None:
            inputs["position_ids"] = inputs["position_ids"] * 0
        return body(**inputs)

    forward.__signature__ = __import__("inspect").signature(body)
    monkeypatch.setattr(broken.module.base_model, "forward", forward)
    assert broken.pages.name == UNCACHED
    found = speculate(broken, draft, max_new_tokens=8)
    assert [each.response.tokens for each in found] == [each.response.tokens for each in expected]


def test_generate_has_a_models_draft_propose() -> None:
    target = build("llama", seed=3)
    target.draft = Draft(build("llama", seed=4), 3)
    sampling = Sampling(max_new_tokens=9)
    found = generate(target, PROMPTS, sampling, seed=7, author=Author.teacher)
    told = speculate(target, target.draft.model, max_new_tokens=9)
    assert found == [each.response for each in told]


def test_logits_that_are_not_finite_are_refused() -> None:
    target, draft = build("llama", tied=False), build("llama", seed=1)
    with torch.no_grad():
        target.head.weight[3] = torch.nan
    with pytest.raises(ModelError, match="logits are not finite while it writes"):
        speculate(target, draft, max_new_tokens=3)
