"""The probe batch: what must vanish, and what must be heard."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from distillkit.core.spec import discover
from distillkit.divergences.base import Divergence, kl
from distillkit.objectives.comparison import Comparison, Control
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.preflight.finding import Finding, Severity
from distillkit.preflight.signal import teacher_signal, zero
from distillkit.supports.full import Full
from tests.preflight.planted import subject
from tests.tiny import opinion

DIVERGENCES = sorted(path.split("/")[1] for path in discover() if path.startswith("divergence/"))


class Offset(Divergence):
    """Somebody's own divergence, forgotten to vanish where both agree."""

    def __call__(self, teacher: Tensor, student: Tensor) -> Tensor:
        return kl(teacher, student) - student.mean(-1)


def severities(findings: list[Finding]) -> set[Severity]:
    return {finding.severity for finding in findings}


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_every_divergence_vanishes_where_the_student_teaches_itself(divergence: str) -> None:
    looked_at = subject(f"divergence={divergence}")
    found = list(zero(looked_at))
    assert severities(found) == {Severity.ok}, found
    assert all(p.grad is None for p in looked_at.student.parameters())


def test_a_divergence_that_does_not_vanish_is_found() -> None:
    looked_at = subject()
    looked_at.run.objective = DivergenceObjective(support=Full(), divergence=Offset())
    found = next(zero(looked_at))
    assert found.severity is Severity.fatal
    assert "is not 0 where both distributions agree" in found.what
    assert "in fp64, its value or gradient is off by" in found.what
    assert "divergence=..." in found.mend


@pytest.mark.parametrize(
    ("policy", "heard"), [("off_policy", False), ("seq_kd", True), ("teacher_mixed", True)]
)
def test_a_teacher_that_writes_is_judged_though_no_divergence_hears_it(
    policy: str, heard: bool
) -> None:
    looked_at = subject(f"policy={policy}", "objective=sft")
    said = next(teacher_signal(looked_at)).what
    assert ("nats a token" in said) == heard
    assert ("measured only" in said) != heard


@pytest.mark.parametrize(("norm", "severity"), [(0.03, Severity.ok), (0.07, Severity.fatal)])
def test_a_bounded_loss_at_its_bound_is_judged_by_its_gradient(
    norm: float, severity: Severity
) -> None:
    """JSD is log 2 for every teacher that is far away, shuffled or not."""
    looked_at = subject("divergence=jsd", "beta=0.5")
    bound = 0.6931472
    looked_at.__dict__["losses"] = {
        Control.none: (bound, 0.07),
        Control.shuffled_teacher: (bound, norm),
    }
    *_, found = teacher_signal(looked_at)
    assert found.severity is severity
    assert f"{bound:.3g}" in found.what


def test_the_probe_batch_weighs_every_position_alike() -> None:
    looked_at = subject()
    probe = looked_at.probe
    assert len(probe.examples) >= 8
    weights = probe.scored(opinion(looked_at.teacher, probe.teacher)).weights
    assert weights.sum().item() == pytest.approx(1)
    assert len(weights) == sum(len(item.tokens) for item in probe.responses)


class Tilted(Divergence):
    """Right in its value, and its gradient a little off."""

    def __call__(self, teacher: Tensor, student: Tensor) -> Tensor:
        return kl(teacher, student)

    def slope(self, teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
        values, slope = Divergence.slope(self, teacher, student)
        return values, slope * (1 + 0.01 * torch.linspace(-1, 1, slope.shape[-1]))


def test_a_gradient_that_is_a_per_cent_off_is_found() -> None:
    looked_at = subject()
    looked_at.run.objective = DivergenceObjective(support=Full(), divergence=Tilted())
    assert next(zero(looked_at)).severity is Severity.fatal


def test_rounding_in_a_wide_vocabulary_and_a_deep_model_is_no_fault() -> None:
    """Large logits over many entries leave a gradient that is 0 only beside another one."""
    looked_at = subject("divergence=forward_kl")
    with torch.no_grad():
        looked_at.student.module.base_model.norm.weight.mul_(30)
        for layer in looked_at.student.module.base_model.layers:
            layer.mlp.down_proj.weight.mul_(1e-2)
            layer.self_attn.o_proj.weight.mul_(1e-2)
    found = next(zero(looked_at))
    assert found.severity is Severity.ok, found


def test_in_bf16_a_healthy_pair_is_no_fault_either() -> None:
    assert next(zero(subject("precision=bf16"))).severity is Severity.ok


def test_a_teacher_whose_head_is_read_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The divergence is right, and what is around it is not."""
    looked_at = subject()
    heard = Comparison.heard
    monkeypatch.setattr(
        Comparison,
        "heard",
        lambda self, said: replace(heard(self, said), states=heard(self, said).states * 1.01),
    )
    (found,) = [each for each in zero(looked_at) if each.severity is Severity.fatal]
    assert found.what.startswith("the student as its own teacher: loss")
    assert "the support, the head or the arithmetic" in found.why
    assert "precision=fp32" in found.mend
