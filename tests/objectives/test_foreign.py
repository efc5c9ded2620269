"""Learning from a teacher of another tokenizer: the loss of the definition, in dense float64."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.types import Author, Response, Rollout
from distillkit.divergences.apart import FLOOR, log_probs
from distillkit.divergences.tvd import TotalVariation
from distillkit.models.forms.decoder_only import DecoderOnly
from distillkit.models.language_model import LanguageModel
from distillkit.models.likelihood import token_odds
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.objectives.base import Scored
from distillkit.objectives.comparison import Comparison
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.kd import KD
from distillkit.objectives.scoring import compare
from distillkit.opinions.aligned import AlignedOpinion
from distillkit.opinions.foreign import AlignedReader, MatchedReader, ModelScores
from distillkit.opinions.states import StatesOpinion
from distillkit.opinions.translation import Translator, shared_tokens
from distillkit.supports.aligned import Aligned, Chunked
from distillkit.supports.base import Support
from distillkit.supports.odds import Odds, against_all_else
from distillkit.supports.ranked import Ranked
from distillkit.supports.sampled import Sampled
from distillkit.supports.shared_ids import Pairs, SharedIds
from distillkit.training.settings import LoopSettings
from distillkit.training.sides import Sides
from distillkit.training.step import accumulate
from tests.divergences.cases import CASES, Case, logits
from tests.foreign import pair
from tests.tiny import CPU, TableModel, build, distance, gradients
from tests.training.parts import EXAMPLES
from tests.training.parts import log_probs as dense_log_probs

TEXTS = ["3 times 4 is 12. 🙂", " It is 7, I think.", "", "naïve"]
TRUNCATED = (False, False, False, True)

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def rollouts(student: LanguageModel) -> list[Rollout]:
    """The texts in the student's ids; the last one is cut inside of a character."""
    found = []
    for asked, text, truncated in zip(EXAMPLES, TEXTS, TRUNCATED, strict=True):
        ids = student.prompts.text_ids(text)
        ids = ids[:3] if truncated else (*ids, student.end_id)
        found.append(Rollout(asked, Response(ids, truncated, Author.dataset)))
    return found


def sides_of(student: LanguageModel, teacher: LanguageModel, support: Support) -> Sides:
    """As a run puts them together."""
    translator = Translator(student, teacher)
    if isinstance(support, Aligned):
        reader: Any = AlignedReader(translator, ModelScores(teacher), device=student.device)
    else:
        reader = MatchedReader(translator, teacher, pairs=pairs_of(translator, student, teacher))
        if isinstance(support, Ranked):
            reader = MatchedReader(translator, teacher, pairs=None)
    return Sides(student, teacher, reader, same_ids=False)


def pairs_of(translator: Translator, student: LanguageModel, teacher: LanguageModel) -> Pairs:
    """Ids of tokens that both have, the end among them."""
    real = [frozenset(range(model.head.vocabulary)) for model in (student, teacher)]
    found = shared_tokens(translator.ours, translator.theirs, of=real[0], to=real[1])
    both = torch.tensor([*found, (student.end_id, teacher.end_id)])
    return Pairs(both[:, 0], both[:, 1])


def learned(
    student: LanguageModel,
    sides: Sides,
    objective: Any,
    given: Sequence[Rollout],
    **loop: Any,
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient through ``accumulate``."""
    student.module.zero_grad()
    found = accumulate(given, sides=sides, objective=objective, loop=LoopSettings(**loop))
    return found["loss"], gradients(student)


Value = Callable[[Tensor, Tensor], Tensor]


def dense(
    student: LanguageModel,
    teacher: LanguageModel,
    given: Sequence[Rollout],
    *,
    value: Callable[[Any, Tensor, Tensor], Tensor],
) -> tuple[float, dict[str, Tensor]]:
    """Row by row, all logits, float64; ``value`` sums what a row contributes."""
    modules = {side: copy.deepcopy(side.module).double() for side in (student, teacher)}
    translator = Translator(student, teacher)
    total = sum(len(each.response.tokens) for each in given)
    terms = []
    for each in given:
        told = translator.of(each)
        ours = dense_log_probs(modules[student], student, each.example, each.response.tokens)
        theirs = dense_log_probs(modules[teacher], teacher, each.example, told.ids).detach()
        terms.append(value((each.response.tokens, told), theirs, ours) / total)
    loss = torch.stack(terms).sum()
    modules[student].zero_grad()
    loss.backward()
    return loss.item(), {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in modules[student].named_parameters()
    }


def of_chunks(case: Case, temperature: float) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """Every chunk's two entries, by its length."""

    def value(where: Any, theirs: Tensor, ours: Tensor) -> Tensor:
        tokens, told = where
        terms = [ours.new_zeros(())]
        for mine, yours in told.chunks:
            both = []
            for side, span, ids in ((theirs, yours, told.ids), (ours, mine, tokens)):
                p = torch.stack([side[n, ids[n]] for n in span]).sum().exp() ** (1 / temperature)
                both.append(torch.stack([p, 1 - p]).log()[None])
            terms.append(len(mine) * case.build()(*both)[0])
        return torch.stack(terms).sum()

    return value


@each_case
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_chunks_have_the_loss_and_gradient_of_the_definition(
    case: Case, temperature: float
) -> None:
    student, teacher = PAIR
    given, support = rollouts(student), Aligned(temperature=temperature)
    objective = DivergenceObjective(support=support, divergence=case.build())
    found = learned(student, sides_of(student, teacher, support), objective, given)
    expected = dense(student, teacher, given, value=of_chunks(case, temperature))
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert distance(found[1], expected[1]) < 2e-5


PAIR = pair()
"""A student of bytes and a teacher of words; no test changes their weights."""


@each_case
def test_one_tokenizer_is_the_sampled_support(case: Case) -> None:
    student, teacher = build("gpt2", context=256), build(side=Teacher, context=256)
    given = [
        Rollout(each, Response((*student.prompts.reference_ids(each), 1), False, Author.dataset))
        for each in EXAMPLES
    ]
    results = []
    for support, sides in (
        (Sampled(), Sides.of(student, teacher)),
        (Aligned(), sides_of(student, teacher, Aligned())),
    ):
        objective = DivergenceObjective(support=support, divergence=case.build())
        results.append(learned(student, sides, objective, given))
    (expected, wanted), (found, gradient) = results
    assert found == expected
    assert all(torch.equal(gradient[name], wanted[name]) for name in wanted)


@each_case
def test_the_same_in_float64_to_the_last_digits(case: Case) -> None:
    """Also where a token is nearly certain, or nearly impossible, on either side."""
    batch, size = DecoderOnly().collate([[0]], [[2, 0, 1, 3, 3, 1]], pad_id=0, device=CPU), 4
    tables = [logits(size, size, seed=seed, spread=9.0) for seed in (1, 2)]
    teacher = TableModel(tables[0])
    results = []
    for support in (Sampled(), Aligned()):
        student = TableModel(tables[1].clone())
        weights = torch.linspace(0.1, 0.6, 6, dtype=torch.float64)
        with torch.no_grad():
            states = teacher.hidden(batch)
            opinion: Any = StatesOpinion(states, batch.targets, teacher)
            if isinstance(support, Aligned):
                opinion = AlignedOpinion(_chunked(teacher, states, batch.targets))
        exact = Comparison(divergence=case.build(), support=support)
        scored = Scored(student=batch, weights=weights, opinion=opinion)
        sums = compare(exact, scored, weights, student=student, chunk_mb=1, clock=Clock())
        results.append((torch.tensor(sums.exact), student.weight.grad, student.states.grad))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def _chunked(teacher: TableModel, states: Tensor, targets: Tensor) -> Chunked:
    odds = token_odds(states, targets, teacher.head, rows=4)
    return Chunked(odds.sure(), torch.ones_like(targets))


def test_odds_are_exact_near_one_and_near_zero() -> None:
    rest = torch.tensor([-60.0, -1e-30, FLOOR, 0.0])
    own = torch.tensor([0.0, -70.0, 0.0, FLOOR])
    sure = Odds(own, rest).sure()
    assert sure.tolist() == pytest.approx([-8.75651e-27, -70.0, 0.0, FLOOR], rel=1e-5)
    both = against_all_else(sure)
    assert both[:, 1].tolist() == pytest.approx([-60.0, -3.97545e-31, FLOOR, 0.0], rel=1e-5)


SUPPORTS = [Aligned(), Aligned(temperature=5.0), SharedIds(), Ranked(), Ranked(k=20)]


@pytest.mark.parametrize("support", SUPPORTS, ids=str)
@pytest.mark.parametrize("tokens", [30, 80])
def test_any_number_of_micro_batches_gives_the_same_gradient(support: Support, tokens: int) -> None:
    student, teacher = PAIR
    given, sides = rollouts(student), sides_of(student, teacher, support)
    objective = DivergenceObjective(support=support, divergence=TotalVariation())
    whole = learned(student, sides, objective, given, micro_batch_tokens=4096)
    parts = learned(student, sides, objective, given, micro_batch_tokens=tokens)
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert distance(parts[1], whole[1]) < 1e-5


def test_a_chunk_over_many_slices_of_logits_is_one_chunk() -> None:
    student, teacher = PAIR
    given, sides = rollouts(student), sides_of(student, teacher, Aligned())
    results = [
        learned(
            student,
            sides,
            DivergenceObjective(support=Aligned(), divergence=TotalVariation(), chunk_mb=chunk_mb),
            given * 12,
            reduction="sequence_sum",
        )
        for chunk_mb in (1, 160)
    ]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert distance(results[0][1], results[1][1]) < 1e-5


def of_matches(
    compared: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Any, Tensor, Tensor], Tensor]:
    """Whole distributions where both begin a chunk."""

    def value(where: Any, theirs: Tensor, ours: Tensor) -> Tensor:
        _, told = where
        terms = [compared(theirs[yours.start], ours[mine.start]) for mine, yours in told.chunks]
        return torch.stack([ours.new_zeros(()), *terms]).sum()

    return value


@pytest.mark.parametrize("k", [None, 20])
@pytest.mark.parametrize("name", ["tvd", "jsd"])
def test_ranks_have_the_loss_and_gradient_of_the_definition(k: int | None, name: str) -> None:
    student, teacher = PAIR
    divergence = Case(name).build()

    def compared(theirs: Tensor, ours: Tensor) -> Tensor:
        p, q = (side.exp().sort(descending=True).values for side in (theirs, ours))
        if k is None:
            width = max(len(p), len(q))
            p, q = (torch.nn.functional.pad(side, (0, width - len(side))) for side in (p, q))
        else:
            p, q = (torch.cat([side[:k], side[k:].sum()[None]]) for side in (p, q))
        return divergence(p.log()[None].clamp_min(FLOOR), q.log()[None].clamp_min(FLOOR))[0]

    support, given = Ranked(k=k), rollouts(student)
    objective = DivergenceObjective(support=support, divergence=divergence)
    found = learned(student, sides_of(student, teacher, support), objective, given)
    expected = dense(student, teacher, given, value=of_matches(compared))
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert distance(found[1], expected[1]) < 5e-5


def test_ranks_by_tvd_are_half_of_uld() -> None:
    theirs, ours = (log_probs(logits(3, size, seed=size)) for size in (7, 9))
    values, _ = Ranked().slope(TotalVariation(), theirs, ours, torch.zeros(3).long())
    p, q = (side.exp().sort(descending=True).values for side in (theirs, ours))
    uld = (torch.nn.functional.pad(p, (0, 2)) - q).abs().sum(-1)
    torch.testing.assert_close(values, uld / 2)


@pytest.mark.parametrize("name", ["tvd", "jsd"])
def test_shared_ids_have_the_loss_and_gradient_of_the_definition(name: str) -> None:
    student, teacher = PAIR
    support, given = SharedIds(), rollouts(student)
    pairs = pairs_of(Translator(student, teacher), student, teacher)
    divergence = Case(name).build()

    def compared(theirs: Tensor, ours: Tensor) -> Tensor:
        both = []
        for side, ids in ((theirs, pairs.theirs), (ours, pairs.ours)):
            others = [n for n in range(len(side)) if n not in set(ids.tolist())]
            both.append(torch.cat([side[ids], side[others].exp().sum().log()[None]])[None])
        return divergence(*both)[0]

    objective = DivergenceObjective(support=support, divergence=divergence)
    found = learned(student, sides_of(student, teacher, support), objective, given)
    expected = dense(student, teacher, given, value=of_matches(compared))
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert distance(found[1], expected[1]) < 2e-5


@pytest.mark.parametrize("support", SUPPORTS, ids=str)
def test_a_likelihood_beside_it_is_added(support: Support) -> None:
    student, teacher = PAIR
    given, sides = rollouts(student), sides_of(student, teacher, support)
    parts = {
        ratio: learned(
            student, sides, KD(support=support, divergence=TotalVariation(), ratio=ratio), given
        )
        for ratio in (0.0, 0.4, 1.0)
    }
    blended = {name: 0.4 * parts[1.0][1][name] + 0.6 * each for name, each in parts[0.0][1].items()}
    assert distance(parts[0.4][1], blended) < 1e-5
    assert parts[0.0][0] > 0


def test_each_side_reads_its_own_prompt_format() -> None:
    student, _ = PAIR
    given = rollouts(student)
    losses = []
    for style in (PromptStyle.plain, PromptStyle.alpaca):
        teacher = build("gpt2", side=Teacher, context=256, prompt=style)
        objective = DivergenceObjective(support=Aligned(), divergence=TotalVariation())
        sides = sides_of(student, teacher, Aligned())
        losses.append(learned(student, sides, objective, given)[0])
        expected = dense(student, teacher, given, value=of_chunks(Case("tvd"), 1.0))
        assert losses[-1] == pytest.approx(expected[0], rel=1e-5)
    assert abs(losses[0] - losses[1]) > 1e-4


@pytest.mark.parametrize("support", SUPPORTS, ids=str)
def test_an_opinion_is_what_its_parts_are(support: Support) -> None:
    student, teacher = PAIR
    given, reader = rollouts(student), sides_of(student, teacher, support).reader
    assert reader is not None
    with torch.no_grad():
        whole = reader.read(given)
    parts = whole.split([len(each.response.tokens) for each in given])
    again = parts[0].join(parts[1:])
    assert len(again) == len(whole) == sum(map(len, parts))
    for one, two in zip(_tensors(whole), _tensors(again), strict=True):
        assert torch.equal(one, two)


def _tensors(opinion: Any) -> list[Tensor]:
    if isinstance(opinion, AlignedOpinion):
        return [*opinion.chunks]
    return [opinion.inner.states, opinion.matched]


def test_a_readers_width_is_that_of_its_own_tokens() -> None:
    student, teacher = PAIR
    reader = sides_of(student, teacher, Aligned()).reader
    assert reader is not None
    for each in rollouts(student):
        translation = Translator(student, teacher).of(each)
        assert reader.length(each) == len(translation.prompt) + len(translation.ids)
