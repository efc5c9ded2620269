"""Products of bf16 operands are added up in fp32; rounding them first would show in a gradient."""

import pytest
import torch
from torch import Tensor, nn

from distillkit.divergences.apart import log_probs
from distillkit.divergences.jsd import JensenShannon
from distillkit.models import products
from distillkit.models.forms.decoder_only import DecoderOnly
from distillkit.models.head import Head
from distillkit.objectives.base import Scored
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.supports.full import Full
from tests.tiny import CPU, opinion

POSITIONS, ENTRIES, WIDTH = 64, 151_936, 48


class Layer:
    """A head over hidden states; two of them agree but for some noise, as after some training."""

    def __init__(self, *, noise: float, learns: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(ENTRIES, WIDTH, generator=generator).bfloat16()
        states = torch.randn(POSITIONS, WIDTH, generator=generator)
        states += noise * torch.randn(POSITIONS, WIDTH, generator=generator)
        self.weight = nn.Parameter(weight, requires_grad=learns)
        self.states = states.bfloat16().requires_grad_(learns)
        self.head = Head(weight=self.weight, bias=None, vocabulary=ENTRIES)

    def hidden(self, batch: object) -> Tensor:
        return self.states * 1


@pytest.fixture(scope="module")
def gradients() -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """By arithmetic: gradients of the hidden states and of the head."""
    student, teacher = (
        Layer(noise=0.02, learns=True),
        Layer(noise=0.0, learns=False),
    )
    divergence = JensenShannon(beta=0.5)
    batch = DecoderOnly().collate([[0]], [[0] * POSITIONS], pad_id=0, device=CPU)
    weights = torch.full((POSITIONS,), 1 / POSITIONS)
    DivergenceObjective(divergence=divergence, support=Full()).backward(
        Scored(batch, weights, opinion=opinion(teacher, batch)), student=student
    )
    found = {"ours": (student.states.grad, student.weight.grad)}
    for name, dtype in (("exact", torch.float64), ("rounded", torch.float32)):
        states, weight = (
            tensor.detach().to(dtype).requires_grad_()
            for tensor in (student.states, student.weight)
        )
        logits = states @ weight.T
        theirs = teacher.states.to(dtype) @ teacher.weight.to(dtype).T
        if name == "rounded":
            logits, theirs = logits.bfloat16().float(), theirs.bfloat16().float()
        values = divergence(log_probs(theirs), log_probs(logits))
        found[name] = torch.autograd.grad(values.mean(), (states, weight))
    return found


def error(found: tuple[Tensor, ...], truth: tuple[Tensor, ...], part: int) -> float:
    """Norm of the difference over the norm of the truth."""
    difference = found[part].double() - truth[part]
    return float(difference.norm() / truth[part].norm())


@pytest.mark.parametrize("part", [0, 1], ids=["hidden", "head"])
def test_a_bf16_gradient_of_jsd_is_within_one_per_cent_of_float64(gradients, part: int) -> None:
    """Trap 7, at N = 64 and V = 151,936: rounded logits alone cost more than all we do."""
    assert error(gradients["ours"], gradients["exact"], part) < 0.01
    assert error(gradients["rounded"], gradients["exact"], part) > 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_products_in_tiles_are_those_of_widened_operands(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "TILE", 15)
    generator = torch.Generator().manual_seed(0)
    hidden, weight, gradient, total = (
        torch.randn(*shape, generator=generator) for shape in ((4, 5), (8, 5), (4, 8), (8, 5))
    )
    hidden, weight, gradient = (part.to(dtype) for part in (hidden, weight, gradient))
    left, right, slope = hidden.float(), weight.float(), gradient.float()
    room = torch.full((9, 8), torch.nan)
    for into in (None, room):
        found = products.project(hidden, weight, into=into)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, left @ right.T)
    assert room[:4].isfinite().all()
    assert room[4:].isnan().all()
    torch.testing.assert_close(products.pull_back(slope, weight), slope @ right)
    before = total.clone()
    products.add_outer(total, slope, hidden, dtype)
    torch.testing.assert_close(total, before + slope.T @ left)
