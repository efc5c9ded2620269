"""Ids that no token has, or that one head of a pair has no row for, get no probability."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer

from distillkit.core.errors import DataError, ModelError
from distillkit.divergences.base import Divergence
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.evaluation.cheaper import Estimates, Plan, Reading
from distillkit.evaluation.scoring import as_compared, likelihoods, side_by_side
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.likelihood import token_nlls
from distillkit.models.mixture import generate_mixture
from distillkit.models.pretrained import Teacher
from distillkit.models.sampling import Sampling
from distillkit.models.shared_ids import share_ids
from distillkit.objectives.base import Objective, Scored
from distillkit.objectives.comparison import Comparison
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.kd import KD
from distillkit.objectives.sft import SFT
from distillkit.supports.base import Support
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import StudentTopK, TeacherTopK
from tests.models.holey import END, HOLES, REAL, holey
from tests.tiny import TOKENIZER, build, example, opinion

PROMPTS = [[50, 60, 70, 80], [200, 201]]
RESPONSES = [[10, 11, END], [20, 21, 22, 23, END]]
HEAD = 400


def pair(family: str = "llama") -> tuple[LanguageModel, LanguageModel]:
    """Teacher and student over a tokenizer with holes, whose rows there are likely ones."""
    sides = []
    for seed, side in enumerate((Teacher, None)):
        extra = {} if side is None else {"side": side}
        model = build(family, tokenizer=holey(), vocab_size=HEAD, seed=seed, tied=False, **extra)
        with torch.no_grad():
            model.head.weight[list(HOLES)] *= 5
            model.head.weight[END + 1 :] *= 5
        sides.append(model)
    share_ids(*sides)
    return sides[0], sides[1]


def oracle(model: LanguageModel) -> Tensor:
    """fp64 log-probabilities of the real ids alone, from the model's own forward pass [N, R]."""
    parts = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        logits = model.module(input_ids=torch.tensor([prompt + response])).logits[0]
        parts.append(logits[len(prompt) - 1 : -1, list(REAL)])
    return torch.cat(parts).double().log_softmax(-1)


def places(model: LanguageModel) -> Tensor:
    """Where each target stands among the real ids [N]."""
    ids = [token for response in RESPONSES for token in response]
    return torch.tensor([REAL.index(token) for token in ids])


def scored(teacher: LanguageModel, student: LanguageModel) -> Scored:
    count = sum(map(len, RESPONSES))
    return Scored(
        student=student.batch(PROMPTS, RESPONSES),
        weights=torch.full((count,), 1 / count),
        opinion=opinion(teacher, teacher.batch(PROMPTS, RESPONSES)),
    )


def test_the_end_token_is_the_largest_id_and_real() -> None:
    teacher, student = pair()
    for model in (teacher, student):
        assert model.end_id == END
        assert (model.head.vocabulary, model.head.real) == (END + 1, len(REAL))


def test_without_holes_nothing_is_masked() -> None:
    teacher, student = build(side=Teacher, vocab_size=HEAD), build(vocab_size=HEAD)
    share_ids(teacher, student)
    assert teacher.head.holes is None
    assert student.head.holes is None
    assert student.head.vocabulary == len(student.tokenizer)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "cohere"])
def test_log_probabilities_are_those_over_the_real_ids(family: str) -> None:
    _, student = pair(family)
    with torch.no_grad():
        found = student.head.logits(student.hidden(student.batch(PROMPTS, RESPONSES)))
        likely = found.double().log_softmax(-1)
        torch.testing.assert_close(likely[:, list(REAL)], oracle(student), rtol=1e-4, atol=1e-4)
    assert bool((found[:, list(HOLES)] == -torch.inf).all())


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize(
    ("divergence", "value"),
    [
        (ForwardKL(), lambda p, q: (p.exp() * (p - q)).sum(-1)),
        (ReverseKL(), lambda p, q: (q.exp() * (q - p)).sum(-1)),
    ],
    ids=["forward", "reverse"],
)
def test_a_divergence_and_its_gradient_are_those_over_the_real_ids(
    family: str, divergence: Divergence, value: Any
) -> None:
    teacher, student = pair(family)
    objective = DivergenceObjective(divergence=divergence, support=Full())
    loss = objective.backward(scored(teacher, student), student=student)["loss"]
    found = student.head.weight.grad.clone()
    student.module.zero_grad()
    with torch.no_grad():
        wanted = oracle(teacher)
    expected = value(wanted, oracle(student)).mean()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-4)
    assert loss > 0
    torch.testing.assert_close(found, student.head.weight.grad, rtol=1e-3, atol=1e-5)
    assert not found[list(HOLES)].any()


OBJECTIVES: list[Objective] = [
    SFT(),
    KD(divergence=JensenShannon(), support=Full()),
    *(
        DivergenceObjective(divergence=JensenShannon(), support=support)
        for support in (Full(), Sampled(), TeacherTopK(k=4), StudentTopK(k=500))
    ),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: type(each).__name__)
def test_every_objective_leaves_rows_without_a_token_alone(objective: Objective) -> None:
    teacher, student = pair()
    found = objective.backward(scored(teacher, student), student=student)
    gradient = student.head.weight.grad
    assert torch.isfinite(torch.tensor(found["loss"]))
    assert gradient.isfinite().all()
    assert gradient[list(REAL)].any()
    assert not gradient[list(HOLES)].any()
    assert not gradient[END + 1 :].any()


def test_sft_is_the_cross_entropy_over_the_real_ids() -> None:
    teacher, student = pair()
    batch = student.batch(PROMPTS, RESPONSES)
    with torch.no_grad():
        expected = functional.nll_loss(oracle(student), places(student), reduction="none")
        found = token_nlls(student.hidden(batch), batch.targets, student.head, chunk_mb=1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    loss = SFT().backward(scored(teacher, student), student=student)["loss"]
    assert loss == pytest.approx(expected.mean().item(), rel=1e-4)


def test_evaluation_compares_over_the_real_ids() -> None:
    teacher, student = pair()
    tables = side_by_side(
        teacher, student, [(prompt, prompt) for prompt in PROMPTS], [tuple(r) for r in RESPONSES]
    )
    with torch.no_grad():
        p, q = oracle(teacher), oracle(student)
    found = [as_compared(table) for table in tables]
    forward = torch.tensor([value for each in found for value in each.forward_kl])
    entropy = torch.tensor([value for each in found for value in each.entropy])
    torch.testing.assert_close(forward.double(), (p.exp() * (p - q)).sum(-1), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(entropy.double(), -(q.exp() * q).sum(-1), rtol=1e-3, atol=1e-4)
    likely = likelihoods(student, PROMPTS, RESPONSES)
    chosen = q.gather(-1, places(student)[:, None])[:, 0]
    parts = [part.sum().item() for part in chosen.split([len(r) for r in RESPONSES])]
    assert likely == pytest.approx(parts, rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_estimators_compare_over_the_real_ids(family: str) -> None:
    teacher, student = pair(family)
    batch = scored(teacher, student)
    estimates = Estimates(
        Comparison(divergence=ReverseKL(), support=Full()),
        student=student.head,
        chunk_mb=160,
        plan=Plan(k=(1, 1000), draws=(1, 4), repeats=4),
        seed=0,
    )
    with torch.no_grad():
        hidden = student.hidden(batch.student)
        estimates.add(Reading(hidden, batch.opinion, batch.student.targets, batch.weights))
        p, q = oracle(teacher), oracle(student)
    expected = (q.exp() * (q - p)).sum(-1).mean().item()
    rows = {(row.estimator, row.k, row.draws): row for row in estimates.rows()}
    assert rows["dense", None, None].value == pytest.approx(expected, rel=1e-4)
    whole = rows["student_top_k", END + 1, None]
    assert whole.value == pytest.approx(expected, rel=1e-4)
    for row in rows.values():
        assert all(value == value for value in (row.value, row.bias, row.gradient_norm))


@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
def test_what_is_written_holds_real_ids_alone(temperature: float) -> None:
    teacher, student = pair()
    sampling = Sampling(temperature=temperature, max_new_tokens=16)
    for model in (teacher, student):
        written = generate(model, PROMPTS * 8, sampling, seed=0)
        assert {token for text in written for token in text.tokens} <= set(REAL)
    together = generate_mixture(
        student,
        teacher,
        prompts=PROMPTS,
        teacher_prompts=PROMPTS,
        sampling=sampling,
        share=0.5,
        seed=0,
    )
    assert {token for text in together for token in text.tokens} <= set(REAL)


def test_a_teacher_that_ends_at_once_writes_one_token() -> None:
    teacher, _ = pair()
    with torch.no_grad():
        hidden = teacher.hidden(teacher.batch(PROMPTS[:1], [[END]]))
        teacher.head.weight[END] = 100 * hidden[0] / hidden[0].norm()
        teacher.head.weight[:END] *= 0.01
    (text,) = generate(teacher, PROMPTS[:1], Sampling(temperature=0, max_new_tokens=32), seed=0)
    assert text.tokens == (END,)
    assert not text.truncated


def with_added(*tokens: str, special: bool = False) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.add_tokens(list(tokens), special_tokens=special)
    return tokenizer


@pytest.mark.parametrize("padded", ["student", "teacher"])
def test_a_padding_token_of_one_side_alone_is_masked_on_both(padded: str) -> None:
    extra = with_added("[PAD]", special=True)
    sides = {
        name: build(vocab_size=HEAD, tokenizer=extra if name == padded else None, **more)
        for name, more in {"teacher": {"side": Teacher}, "student": {}}.items()
    }
    share_ids(sides["teacher"], sides["student"])
    for model in sides.values():
        assert model.head.vocabulary == 382
        assert model.head.holes is None


def test_an_added_token_of_one_side_between_others_is_a_hole_of_both() -> None:
    teacher = build(side=Teacher, vocab_size=HEAD, tokenizer=with_added("<a>", "<b>"))
    tokenizer = with_added("<a>", "<b>", "<c>")
    student = build(vocab_size=HEAD, tokenizer=tokenizer)
    share_ids(teacher, student)
    assert teacher.head.vocabulary == student.head.vocabulary == 384
    with pytest.raises(DataError, match=r"the reference of row 7 needs the token '<c>', id 384"):
        student.reference_ids(example("Why?", "So <c>.", name="row 7"))


def test_an_end_token_that_the_other_side_lacks_is_refused() -> None:
    tokenizer = with_added("<end>", special=True)
    tokenizer.eos_token = "<end>"
    student = build(vocab_size=HEAD, tokenizer=tokenizer)
    with pytest.raises(ModelError, match=r"student\.name ends text with '<end>'"):
        share_ids(build(side=Teacher, vocab_size=HEAD), student)


@pytest.mark.parametrize("short", ["student", "teacher", "both"])
def test_a_head_without_a_row_for_an_added_token_is_used_where_no_text_needs_it(
    short: str,
) -> None:
    tokenizer = with_added("<image>")
    rows = {side: 382 if short in (side, "both") else 383 for side in ("teacher", "student")}
    teacher = build(side=Teacher, vocab_size=rows["teacher"], tokenizer=tokenizer)
    student = build(vocab_size=rows["student"], tokenizer=tokenizer)
    share_ids(teacher, student)
    assert teacher.head.vocabulary == student.head.vocabulary == 382
    assert student.reference_ids(example("Why?", "So."))
    with pytest.raises(DataError, match=r"the reference of row 7 needs the token '<image>'"):
        student.reference_ids(example("Why?", "So <image>.", name="row 7"))
    if rows["student"] == 382:
        with pytest.raises(DataError, match=r"the prompt of row 8 needs .* cannot read"):
            student.prompts.prompt_ids(example("Why <image>?", "So.", name="row 8"))


def test_a_head_without_a_row_for_the_end_token_is_refused() -> None:
    tokenizer = with_added("<end>", special=True)
    tokenizer.eos_token = "<end>"
    with pytest.raises(ModelError, match=r"none of them is for the end token '<end>', id 382"):
        build(vocab_size=382, tokenizer=tokenizer)


SUPPORTS: list[Support] = [Full(), Sampled(), TeacherTopK(k=3)]


@pytest.mark.parametrize("support", SUPPORTS, ids=lambda each: type(each).__name__)
def test_a_model_is_its_own_perfect_teacher_with_holes_too(support: Support) -> None:
    _, student = pair()
    objective = DivergenceObjective(divergence=ForwardKL(), support=support)
    loss = objective.backward(scored(student, student), student=student)["loss"]
    assert abs(loss) < 1e-6
