"""A mixture of two models: drawn as alpha p + (1 - alpha) q says, with both opinions kept."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from distillkit.core.errors import DataError, ModelError
from distillkit.core.types import Response
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.mixture import choose_together, generate_mixture
from distillkit.models.pretrained import Teacher
from distillkit.models.sampling import Sampling, choose
from tests.models.exact import Probabilities, filtered, next_logits, p_value, softmax
from tests.tiny import ENTRIES, build

PROMPTS = [
    [50, 60, 70, 80, 90, 100, 110],
    [200],
    [300, 301, 302],
    [44, 55, 66, 77, 88],
    [5, 6],
    [120, 121, 122],
]
THEIRS = [
    [50, 60],
    [7, 8, 9, 10, 200],
    [300, 301, 302, 303],
    [44],
    [7, 7, 7, 7, 7, 7, 5, 6],
    [120, 121, 122],
]
"""The same as the teacher reads them: neither lengths nor their order are the student's."""
OFTEN_ENDING = frozenset(range(1, ENTRIES, 7))
FILTERS = {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.02}
FAMILIES = [("llama", "qwen3"), ("gpt2", "llama"), ("llama", "gpt2"), ("gpt2", "gpt2")]
"""Student and teacher with distillkit's decoder and with transformers' cache."""

families = pytest.mark.parametrize(("ours", "theirs"), FAMILIES)


def pair(
    ours: str = "llama", theirs: str = "llama", *, stops: frozenset[int] = OFTEN_ENDING
) -> tuple[LanguageModel, LanguageModel]:
    student, teacher = build(ours, seed=1), build(theirs, side=Teacher, seed=2)
    student.stop_ids = teacher.stop_ids = stops
    return student, teacher


def mixed(
    student: LanguageModel,
    teacher: LanguageModel,
    *,
    prompts: list[list[int]] = PROMPTS,
    theirs: list[list[int]] = THEIRS,
    share: float = 0.3,
    seed: int = 7,
    **sampling: Any,
) -> list[Response]:
    return generate_mixture(
        student,
        teacher,
        prompts=prompts,
        teacher_prompts=theirs,
        sampling=Sampling(**{"max_new_tokens": 12, **sampling}),
        share=share,
        seed=seed,
    )


def columns(text: Response) -> tuple[tuple[float, ...], ...]:
    return text.log_probs, text.of_student, text.of_teacher


@families
@pytest.mark.parametrize("settings", [{}, FILTERS], ids=["neutral", "filtered"])
@pytest.mark.parametrize("share", [0.2, 0.75])
def test_the_log_probs_kept_are_the_mixture_of_plain_forward_passes(
    ours: str, theirs: str, settings: dict, share: float
) -> None:
    """Token by token in float64, without cache or padding; the two models' without filters."""
    student, teacher = pair(ours, theirs)
    written = mixed(student, teacher, share=share, **settings)
    assert len({len(text.tokens) for text in written}) > 2
    for prompt, other, text in zip(PROMPTS, THEIRS, written, strict=True):
        assert {len(column) for column in columns(text)} == {len(text.tokens)}
        for place, token in enumerate(text.tokens):
            q, p = (
                next_logits(model, [[*start, *text.tokens[:place]]])[0]
                for model, start in ((student, prompt), (teacher, other))
            )
            both = share * filtered(p, **settings) + (1 - share) * filtered(q, **settings)
            found = [column[place] for column in columns(text)]
            expected = np.log([both[token], softmax(q)[token], softmax(p)[token]])
            assert found == pytest.approx(expected, abs=2e-5)


def sequences(
    student: LanguageModel, teacher: LanguageModel, share: float, stop: int
) -> Probabilities:
    """Exact probability of every text of at most two tokens [V + 1, V].

    The last row is the texts that end at their first token; the others are [first, second].
    """
    vocabulary = student.head.vocabulary

    def both(rows: list[list[int]]) -> Probabilities:
        q, p = (
            softmax(next_logits(model, [[*start, *row] for row in rows]))
            for model, start in ((student, PROMPTS[0]), (teacher, THEIRS[0]))
        )
        return share * p + (1 - share) * q

    first = both([[]])[0]
    table = np.zeros((vocabulary + 1, vocabulary))
    table[:vocabulary] = first[:, None] * both([[token] for token in range(vocabulary)])
    table[-1, stop], table[stop] = first[stop], 0
    return table


@families
def test_texts_are_as_frequent_as_the_product_of_the_mixtures(ours: str, theirs: str) -> None:
    """All texts of two tokens are enumerated; the mixture of whole texts would not fit."""
    student, teacher = pair(ours, theirs)
    likely = int(softmax(next_logits(student, [PROMPTS[0]]))[0].argmax())
    student.stop_ids = teacher.stop_ids = frozenset({likely})
    count, share = 20_000, 0.3
    written = mixed(
        student,
        teacher,
        prompts=[PROMPTS[0]] * count,
        theirs=[THEIRS[0]] * count,
        share=share,
        max_new_tokens=2,
        batch_size=5000,
    )
    vocabulary = student.head.vocabulary
    texts = [
        (text.tokens[0] if len(text.tokens) == 2 else vocabulary) * vocabulary + text.tokens[-1]
        for text in written
    ]
    exact = sequences(student, teacher, share, likely)
    assert exact.sum() == pytest.approx(1, abs=1e-6)
    assert p_value(texts, exact.ravel() / exact.sum()) > 0.01
    alone = [sequences(student, teacher, end, likely) for end in (0, 1)]
    wrong = (1 - share) * alone[0] + share * alone[1]
    assert p_value(texts, wrong.ravel() / wrong.sum()) < 1e-6


@families
@pytest.mark.parametrize("settings", [{}, FILTERS, {"temperature": 0}], ids=str)
@pytest.mark.parametrize("size", [256, 2])
def test_a_share_of_0_is_the_student_bit_for_bit(
    ours: str, theirs: str, settings: dict, size: int
) -> None:
    student, teacher = pair(ours, theirs)
    sampling = Sampling(max_new_tokens=12, batch_size=size, **settings)
    alone = generate(student, PROMPTS, sampling, seed=7)
    together = mixed(student, teacher, share=0, batch_size=size, **settings)
    for one, two in zip(alone, together, strict=True):
        assert (one.tokens, one.truncated, one.log_probs) == (
            two.tokens,
            two.truncated,
            two.log_probs,
        )
        assert (two.of_student == two.log_probs) == sampling.neutral
        assert len(two.of_teacher) == len(two.tokens)
    assert len({len(text.tokens) for text in alone}) > 2


@families
@pytest.mark.parametrize("settings", [{}, FILTERS, {"temperature": 0}], ids=str)
def test_a_share_of_1_is_the_teacher_after_its_own_prompts(
    ours: str, theirs: str, settings: dict
) -> None:
    student, teacher = pair(ours, theirs)
    sampling = Sampling(max_new_tokens=12, **settings)
    alone = generate(teacher, THEIRS, sampling, seed=7)
    together = mixed(student, teacher, share=1, **settings)
    for one, two in zip(alone, together, strict=True):
        assert (one.tokens, one.truncated) == (two.tokens, two.truncated)
        assert one.log_probs == pytest.approx(two.log_probs, abs=1e-5)
        assert (two.of_teacher == two.log_probs) == sampling.neutral
    order = sorted(range(len(PROMPTS)), key=lambda row: len(THEIRS[row]))
    prompts, other = ([rows[row] for row in order] for rows in (PROMPTS, THEIRS))
    alone = generate(teacher, other, sampling, seed=3)
    # In one batch of one order even the last bit is the same.
    alike = [[5] * (place + 1) for place in range(len(prompts))]
    together = mixed(student, teacher, prompts=alike, theirs=other, share=1, seed=3, **settings)
    assert [text.log_probs for text in together] == [text.log_probs for text in alone]


def test_a_greedy_mixture_takes_the_likeliest_token_of_the_mixture() -> None:
    """Which is not always the student's favourite, nor always the teacher's."""
    student, teacher = pair()
    written = mixed(student, teacher, share=0.5, temperature=0)
    favourites = set()
    for prompt, other, text in zip(PROMPTS, THEIRS, written, strict=True):
        assert set(text.log_probs) == {0.0}
        for place, token in enumerate(text.tokens):
            q, p = (
                softmax(next_logits(model, [[*start, *text.tokens[:place]]])[0])
                for model, start in ((student, prompt), (teacher, other))
            )
            assert token == (p + q).argmax()
            assert text.of_student[place] == pytest.approx(math.log(q[token]), abs=2e-5)
            assert text.of_teacher[place] == pytest.approx(math.log(p[token]), abs=2e-5)
            favourites.add((token == q.argmax(), token == p.argmax()))
    assert favourites >= {(True, False), (False, True)}


@families
def test_neither_the_batch_size_nor_the_rows_beside_it_change_a_text(
    ours: str, theirs: str
) -> None:
    student, teacher = pair(ours, theirs)
    whole, small, single = (mixed(student, teacher, batch_size=size) for size in (256, 4, 1))
    assert len({len(text.tokens) for text in whole}) > 2
    for texts in (small, single):
        assert [text.tokens for text in texts] == [text.tokens for text in whole]
        for one, two in zip(texts, whole, strict=True):
            for found, expected in zip(columns(one), columns(two), strict=True):
                assert found == pytest.approx(expected, abs=2e-5)


def test_a_text_ends_at_the_end_tokens_of_either_model_and_a_cut_one_carries_none() -> None:
    student, teacher = pair()
    student.stop_ids, teacher.stop_ids = (frozenset(range(a, ENTRIES, 14)) for a in (1, 8))
    ends = student.stop_ids | teacher.stop_ids
    written = mixed(student, teacher, prompts=PROMPTS * 20, theirs=THEIRS * 20, max_new_tokens=6)
    assert {text.truncated for text in written} == {True, False}
    last = {text.tokens[-1] for text in written if not text.truncated}
    assert last & student.stop_ids
    assert last & teacher.stop_ids
    for text in written:
        assert not ends & set(text.tokens[:-1])
        assert text.truncated == (text.tokens[-1] not in ends)
        assert len(text.tokens) == 6 or not text.truncated


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(("ours", "theirs"), [(16, 64), (64, 16)])
def test_the_smaller_room_of_both_models_limits_each_row(
    family: str, ours: int, theirs: int
) -> None:
    """And only that row: its neighbours, with shorter prompts, write on."""
    student, teacher = (
        build(family, context=context, seed=seed) for seed, context in ((1, ours), (2, theirs))
    )
    student.stop_ids = teacher.stop_ids = frozenset()
    long, short = [5] * 14, [6] * 4
    rows = ([long, short], [short, short]) if ours < theirs else ([short, short], [long, short])
    both = {"temperature": 0.0, "max_new_tokens": 10}
    written = mixed(student, teacher, prompts=rows[0], theirs=rows[1], **both)
    assert [len(text.tokens) for text in written] == [2, 10]
    assert all(text.truncated for text in written)
    alone = mixed(student, teacher, prompts=[short], theirs=[short], **both)
    assert written[1].tokens == alone[0].tokens


def test_a_prompt_that_fills_either_context_is_refused() -> None:
    student, teacher = build(context=16), build(context=20)
    for ours, theirs, context in ((16, 2, 16), (2, 20, 20)):
        with pytest.raises(DataError, match=f"{context} tokens fills the model's context of"):
            mixed(student, teacher, prompts=[[5] * ours], theirs=[[5] * theirs])


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_logits_that_are_not_finite_are_refused_on_either_side(
    side: int, temperature: float, share: float
) -> None:
    models = [build(tied=False), build(tied=False)]
    with torch.no_grad():
        models[side].head.weight[3] = torch.nan
    with pytest.raises(ModelError, match="logits are not finite while it writes"):
        mixed(*models, temperature=temperature, share=share)


def test_a_token_that_one_model_thinks_impossible_has_finite_log_probs() -> None:
    """Its fp32 probability is 0 where only the other model would have drawn it."""
    logits = torch.tensor([[0.0, 300.0, -50.0], [0.0, 95.0, -50.0]])
    opposite = -logits
    tokens, (log_prob, of_student, of_teacher) = choose_together(
        logits,
        opposite,
        sampling=Sampling(),
        uniform=torch.full((2,), 0.999999, dtype=torch.float64),
        share=0.5,
    )
    expected = [side.double().log_softmax(-1) for side in (logits, opposite)]
    for row, token in enumerate(tokens.tolist()):
        ours, theirs = (side[row, token].item() for side in expected)
        assert of_student[row].item() == pytest.approx(ours, abs=1e-5)
        assert of_teacher[row].item() == pytest.approx(theirs, abs=1e-5)
        assert log_prob[row].item() == pytest.approx(np.logaddexp(ours, theirs) - math.log(2))
    assert tokens.tolist() == [2, 2]
    assert of_student.max() < -100


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("share", [0, 1])
def test_the_ends_of_the_share_are_exact_for_logits_of_every_size(
    temperature: float, share: int
) -> None:
    """Also where the other model has no doubts, and where fp32 probabilities hide a difference."""
    generator = torch.Generator().manual_seed(0)
    sides = [
        scale * torch.randn(50, 1000, generator=generator)
        for scale in (0.0, 1e-3, 1.0, 30.0, 1000.0)
    ]
    near = torch.full((50, 1000), 1e-3)
    near[:, 7] = torch.nextafter(near[0, 0], torch.tensor(torch.inf))
    uniform = torch.rand(50, generator=generator, dtype=torch.float64)
    sampling = Sampling(temperature=temperature)
    for ours, theirs in product([*sides, near], repeat=2):
        tokens, numbers = choose_together(
            ours, theirs, sampling=sampling, uniform=uniform, share=share
        )
        alone, log_prob = choose((ours, theirs)[share], sampling, uniform)
        assert torch.equal(tokens, alone)
        assert torch.equal(numbers[0], log_prob.double())
        assert all(column.isfinite().all() for column in numbers)
        if sampling.neutral:
            assert torch.equal(numbers[1 + share], log_prob)
