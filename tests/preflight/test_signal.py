"""The probe batch: what must vanish, and what must be heard."""

import pytest
from torch import Tensor

from distillkit.core.spec import discover
from distillkit.divergences.base import Divergence, kl
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.preflight.finding import Finding, Severity
from distillkit.preflight.signal import teacher_signal, zero
from distillkit.supports.full import Full
from tests.preflight.planted import subject

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
    assert found.what.startswith("the student as its own teacher: loss")
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


def test_the_probe_batch_weighs_every_position_alike() -> None:
    probe = subject().probe
    assert len(probe.examples) >= 8
    assert probe.scored.weights.sum().item() == pytest.approx(1)
    assert len(probe.scored.weights) == sum(len(item.tokens) for item in probe.responses)
