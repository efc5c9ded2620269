"""The engine: any chunk size gives one result, and memory never holds all logits."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from distillkit.core.clock import Clock
from distillkit.divergences.jsd import JensenShannon
from distillkit.models.head import Head
from distillkit.models.language_model import LanguageModel
from distillkit.models.likelihood import dealt, rows_within
from distillkit.models.pretrained import Teacher
from distillkit.objectives import chunked
from distillkit.objectives.base import Credit, Objective, Scored
from distillkit.objectives.chunked import backward_in_chunks
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.kd import KD
from distillkit.objectives.minillm import MiniLLM
from distillkit.objectives.reward import RewardObjective
from distillkit.objectives.sampled_kl import SampledKL
from distillkit.objectives.sft import SFT
from distillkit.supports.full import Full
from tests.tiny import ENTRIES, build, distance, gradients, opinion

PROMPTS = [[50, 60, 70, 80], [200], [90, 91]]
RESPONSES = [[10, 11, 12], [20, 21, 22, 23, 24, 25, 1], [30, 1]]
POSITIONS = 12
PAIR = {"support": Full(), "divergence": JensenShannon(beta=0.3)}
OBJECTIVES = {
    "divergence": DivergenceObjective(**PAIR),
    "sft": SFT(),
    "kd": KD(**PAIR, ratio=0.3),
    "minillm": MiniLLM(),
    "minillm eq. 2": MiniLLM(single_step=False),
    "sampled_kl": SampledKL(),
    "reward": RewardObjective(**PAIR, clip=0.1),
    "reward alone": RewardObjective(alpha=0.0),
}

each = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def credit(positions: int) -> Credit:
    """Advantages of both signs, weights that differ, and text that an older student drew."""
    generator = torch.Generator().manual_seed(0)
    advantages, exact, drawn = torch.randn(3, positions, generator=generator)
    return Credit(advantages, 0.1 * exact.exp(), drawn - 8, total=positions)


def rows(monkeypatch: pytest.MonkeyPatch, *, chunk: int, block: int = 1000) -> None:
    """So many positions in a chunk and in a block, whatever the budget of memory."""
    path = "distillkit.objectives.scoring.rows_within"
    monkeypatch.setattr(path, lambda chunk_mb, vocabulary: chunk)
    monkeypatch.setattr(chunked, "BLOCK", block * ENTRIES)


@cache
def models(tied: bool) -> tuple[LanguageModel, LanguageModel]:
    """A student and a teacher of another family."""
    return build("llama", tied=tied), build("gpt2", tied=tied, side=Teacher)


def run(objective: Objective, *, tied: bool = True) -> tuple[dict[str, float], dict[str, Tensor]]:
    """What is reported, and the student's gradients."""
    student, teacher = models(tied)
    student.module.zero_grad()
    batch = Scored(
        student=student.batch(PROMPTS, RESPONSES),
        weights=torch.linspace(0.05, 0.2, POSITIONS),
        credit=credit(POSITIONS),
        opinion=opinion(teacher, teacher.batch(PROMPTS, RESPONSES)),
    )
    return objective.backward(batch, student=student), gradients(student)


@each
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_chunks_and_blocks_change_neither_loss_nor_gradient(
    objective: Objective, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(objective, tied=tied)
    for chunk, block in ((1, 1), (4, 1000), (5, 2), (POSITIONS, 1), (1000, 5)):
        rows(monkeypatch, chunk=chunk, block=block)
        numbers, gradient = run(objective, tied=tied)
        assert numbers == pytest.approx(whole[0], rel=1e-5)
        assert distance(gradient, whole[1]) < 3e-6


def test_some_of_the_text_is_clipped_and_some_is_not() -> None:
    """Guard of the ground: otherwise the clip were not tested chunk by chunk."""
    for name in ("minillm", "reward"):
        assert 0.1 < run(OBJECTIVES[name])[0]["clipped_share"] < 0.9


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    ("scale", "softcap"), [(1.0, None), (0.3, None), (1.0, 1.5), (0.3, 1.5)], ids=str
)
def test_chunks_give_the_gradient_of_plain_back_propagation(
    bias: bool, scale: float, softcap: float | None
) -> None:
    """Trap 30: bias, scale and softcap are in the gradient as they are in the logits."""
    torch.manual_seed(0)
    inputs = torch.randn(7, 3).double().requires_grad_()
    weight = nn.Parameter(torch.randn(6, 3).double())  # a row more than there are entries
    offset = nn.Parameter(torch.randn(6).double()) if bias else None
    head = Head(weight=weight, bias=offset, vocabulary=5, scale=scale, softcap=softcap)
    parameters = [item for item in (inputs, weight, offset) if item is not None]
    shares = torch.arange(7).double()

    def loss_of(logits: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        value = (logits.logsumexp(-1) * shares[part]).sum()
        return value[None], logits.softmax(-1) * shares[part, None]

    logits = scale * (inputs.tanh() @ weight[:5].T + (0 if offset is None else offset[:5]))
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    expected = (logits.logsumexp(-1) * shares).sum()
    slopes = torch.autograd.grad(expected, parameters)
    for chunk in (2, 7):
        for parameter in parameters:
            parameter.grad = None
        (total,) = backward_in_chunks(inputs.tanh(), head, loss_of, rows=chunk, clock=Clock())
        assert total == pytest.approx(expected.item(), rel=1e-6)
        for parameter, slope in zip(parameters, slopes, strict=True):
            torch.testing.assert_close(parameter.grad, slope)


def test_the_gradient_of_a_head_adds_up_over_micro_batches_and_skips_a_frozen_one() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        weight = nn.Parameter(torch.randn(5, 3).to(dtype))
        hidden = torch.randn(4, 3, requires_grad=True)

        def loss_of(logits: Tensor, part: slice) -> tuple[Tensor, Tensor]:
            return logits.sum(), torch.ones_like(logits)

        head = Head(weight=weight, bias=None, vocabulary=5)
        backward_in_chunks(hidden * 1, head, loss_of, rows=2, clock=Clock())
        once = weight.grad.clone()
        backward_in_chunks(hidden * 1, head, loss_of, rows=2, clock=Clock())
        assert once.dtype == dtype
        torch.testing.assert_close(weight.grad, 2 * once)
        weight.requires_grad_(False)
        weight.grad = None
        backward_in_chunks(hidden * 1, head, loss_of, rows=2, clock=Clock())
        assert weight.grad is None


def test_the_budget_of_a_chunk_counts_the_logits_of_both_models() -> None:
    assert rows_within(256, 151_936) == 220
    assert rows_within(1, 1 << 20) == 1
    assert 2 * 4 * 1000 * rows_within(3, 1000) <= 3 << 20


def test_chunks_are_about_equal() -> None:
    assert [dealt(positions, 426) for positions in (0, 1, 426, 427, 512, 900)] == [
        *(426, 1, 426, 214, 256, 300)
    ]


class Tallest(TorchDispatchMode):
    """Remembers the most rows of any tensor as wide as the vocabulary."""

    rows = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.ndim >= 2 and result.shape[-1] == ENTRIES:
            self.rows = max(self.rows, result.numel() // ENTRIES)
        return result


@each
def test_no_tensor_of_all_positions_by_the_vocabulary_ever_exists(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 11: neither of logits, of log-probabilities, nor of their gradients."""
    student, teacher = models(False)
    long = [list(range(100, 140))]
    batch = Scored(
        student=student.batch([[50]], long),
        weights=torch.full((40,), 1 / 40),
        credit=credit(40),
        opinion=opinion(teacher, teacher.batch([[50]], long)),
    )
    # The head's weight is itself 16 rows as wide as the vocabulary when it is transposed.
    for chunk, most in ((4, 16), (40, 40)):
        rows(monkeypatch, chunk=chunk)
        with Tallest() as tallest:
            objective.backward(batch, student=student)
        assert chunk <= tallest.rows <= most


@each
def test_the_fused_form_that_cuda_runs_is_one_graph_and_gives_the_same(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(objective)
    # The checking of shapes is no part of the graph, and its wrappers share one cache of graphs.
    torch.compiler.reset()
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    monkeypatch.setattr(
        "distillkit.objectives.scoring.fused",
        lambda function, device: torch.compile(
            function, dynamic=True, fullgraph=True, backend="aot_eager"
        ),
    )
    rows(monkeypatch, chunk=5)
    numbers, gradient = run(objective)
    assert numbers == pytest.approx(plain[0], rel=1e-5)
    assert distance(gradient, plain[1]) < 3e-6
