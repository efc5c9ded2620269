"""Policy gradients on real models: one update's gradient, whatever the batch is split into."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from distillkit.core.types import Author, Rollout
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.objectives.base import Objective
from distillkit.objectives.minillm import MiniLLM, Variant
from distillkit.objectives.reward import RewardObjective
from distillkit.objectives.sampled_kl import SampledKL
from distillkit.objectives.sft import SFT
from distillkit.supports.full import Full
from distillkit.training.dealing import split_rows
from distillkit.training.settings import LoopSettings, Reduction
from distillkit.training.sides import Sides
from distillkit.training.step import accumulate, position_weights
from tests.tiny import build, distance, gradients
from tests.training.parts import EXAMPLES, log_probs, rollout

TEXTS = [
    (EXAMPLES[0], [10, 11, 1], 1.0),
    (EXAMPLES[3], [20, 21, 22, 23, 24, 25, 26], 0.25),
    (EXAMPLES[0], [30], 0.5),
    (EXAMPLES[3], [40, 1, 41, 42, 1], 0.0),
]
REFERENCE = MiniLLM(
    variant=Variant.reference, gamma=0.95, whiten=True, weigh_single_step=False, reward_scale=2.0
)
OBJECTIVES = {
    "minillm": MiniLLM(),
    "minillm eq. 2": MiniLLM(single_step=False),
    "minillm reference": REFERENCE,
    "sampled_kl": SampledKL(gamma=0.5, clip=0.3, advantage_clip=2.0, amplify=0.5),
    "reward": RewardObjective(support=Full(), divergence=ForwardKL()),
    "reward alone": RewardObjective(alpha=0.0),
}

each = pytest.mark.parametrize("name", OBJECTIVES)


def drawn() -> list[Rollout]:
    """Responses with random opinions of both models, and rewards; two to each prompt."""
    generator = torch.Generator().manual_seed(7)
    found = []
    for asked, tokens, reward in TEXTS:
        made = rollout(asked, tokens)
        sampled, ours, theirs = (
            tuple((-3 - torch.randn(len(tokens), generator=generator).double()).tolist())
            for _ in range(3)
        )
        response = replace(
            made.response,
            author=Author.mixture,
            log_probs=sampled,
            of_student=ours,
            of_teacher=theirs,
        )
        found.append(replace(made, response=response, reward=reward))
    return found


@cache
def pair() -> Sides:
    """Bodies in float64, prompts in different formats."""
    student = build("gpt2", context=256)
    teacher = build("llama", side=Teacher, context=256, prompt=PromptStyle.alpaca)
    for side in (student, teacher):
        side.module.double()
    return Sides.of(student, teacher)


def zeroed() -> Sides:
    """The same, without a gradient."""
    pair().student.module.zero_grad()
    return pair()


def run(objective: Objective, **loop: object) -> tuple[dict[str, float], dict[str, Tensor]]:
    """What one update reports, and its gradient."""
    numbers = accumulate(drawn(), sides=zeroed(), objective=objective, loop=LoopSettings(**loop))
    return numbers, gradients(pair().student)


@each
@pytest.mark.parametrize("reduction", Reduction)
def test_any_number_of_micro_batches_gives_the_same_gradient(
    name: str, reduction: Reduction
) -> None:
    """Trap 2: groups, whitening and baselines are the global batch's, never a micro-batch's."""
    sides, results = pair(), {}
    formats = [
        [len(side.prompts.prompt_ids(made.example)) for made in drawn()]
        for side in (sides.student, sides.teacher)
    ]
    widths = [
        max(lengths) + len(made.response.tokens)
        for made, *lengths in zip(drawn(), *formats, strict=True)
    ]
    for budget in (4 * max(widths), 2 * max(widths), 1):
        groups = len(split_rows(widths, budget, spare=10_000))
        results[groups] = run(OBJECTIVES[name], micro_batch_tokens=budget, reduction=reduction)
    assert set(results) == {1, 2, 4}
    whole = results.pop(1)
    assert any(gradient.any() for gradient in whole[1].values())
    for numbers, gradient in results.values():
        assert numbers == pytest.approx(whole[0], rel=1e-5, abs=1e-7)
        assert distance(gradient, whole[1]) < 1e-6


def by_definition(
    objective: Objective, student: LanguageModel, teacher: LanguageModel, reduction: Reduction
) -> dict[str, Tensor]:
    """Row by row, unpadded, all logits: the surrogate and the divergence, by autograd."""
    rows = drawn()
    shares = position_weights([len(made.response.tokens) for made in rows], reduction)
    modules = [copy.deepcopy(side.module) for side in (student, teacher)]
    modules[0].zero_grad()
    exact, total = objective.comparison(), 0
    for made, credit in zip(rows, objective.credit(rows, shares), strict=True):
        tokens = list(made.response.tokens)
        ours, theirs = (
            log_probs(module, side, made.example, tokens)
            for module, side in zip(modules, (student, teacher), strict=True)
        )
        ratio = (ours[range(len(tokens)), tokens] - credit.drawn).exp()
        gain = credit.advantages * ratio
        if objective.clip is not None:
            limits = 1 - objective.clip, 1 + objective.clip
            gain = torch.minimum(gain, credit.advantages * ratio.clamp(*limits))
        total = total - gain.sum()
        if exact is not None:
            total = total + (credit.exact * exact.divergence(theirs.detach(), ours)).sum()
    total.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in modules[0].named_parameters()
    }


@each
@pytest.mark.parametrize("reduction", Reduction)
def test_each_tokens_credit_reaches_its_own_token(name: str, reduction: Reduction) -> None:
    """Trap 18: rows are sorted by length on the way, and both formats of a prompt differ."""
    _, gradient = run(OBJECTIVES[name], reduction=reduction)
    wanted = by_definition(OBJECTIVES[name], pair().student, pair().teacher, reduction)
    assert distance(gradient, wanted) < 1e-5


@pytest.mark.parametrize("objective", [MiniLLM(), SFT()], ids=["minillm", "sft"])
def test_a_loss_is_scaled_with_its_gradient(objective: Objective) -> None:
    """As that of pre-training text is, which stands beside another one."""
    whole, gradient = run(objective)
    part = accumulate(drawn(), sides=zeroed(), objective=objective, loop=LoopSettings(), scale=0.25)
    assert part["loss"] == pytest.approx(whole["loss"] / 4)
    quarter = {name: slope / 4 for name, slope in gradient.items()}
    assert distance(gradients(pair().student), quarter) < 1e-6


def test_the_comparison_is_the_reverse_kl_that_minillm_names() -> None:
    """Guard of the definition above, which asks the objective for it."""
    assert isinstance(MiniLLM().comparison().divergence, ReverseKL)
    assert isinstance(MiniLLM().comparison().support, Full)
    assert MiniLLM(single_step=False).comparison() is None
    assert SampledKL().comparison() is None
