"""What a teacher in a narrower type loses is told before it is learnt."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from distillkit.divergences.apart import log_probs
from distillkit.divergences.base import kl
from distillkit.models.language_model import evaluating
from distillkit.models.loading import load
from distillkit.models.shared_ids import share_ids
from distillkit.preflight import rounding as module
from distillkit.preflight.finding import Severity
from distillkit.preflight.rounding import rounding
from distillkit.preflight.subject import MissingPartError
from tests.conftest import SMOKE, CommandLine
from tests.preflight.planted import found, subject
from tests.tiny import CPU, TOKENIZER, save


def test_a_teacher_in_the_run_s_own_type_is_not_spoken_of() -> None:
    assert [*rounding(subject())] == []


def test_the_distance_is_that_of_the_two_models() -> None:
    looked_at = subject("teacher.dtype=bfloat16")
    (said,) = rounding(looked_at)
    assert said.severity is Severity.ok
    wide = load(subject().run.teacher, device=CPU, precision="fp32")
    probe, tables = looked_at.probe, []
    for model in (wide, looked_at.teacher, looked_at.student):
        batch = model.batch(
            model.prompts.of(probe.examples), [each.tokens for each in probe.responses]
        )
        with evaluating(model):
            scores = model.head.prepared().logits(model.hidden(batch))
        tables.append(log_probs(scores))
    own, narrow, student = tables
    off, apart = (float(kl(own, other).mean()) for other in (narrow, student))
    another = float((own.argmax(-1) != narrow.argmax(-1)).float().mean())
    assert f"kept in bfloat16 the teacher is {off:.2g} nats a token from itself" in said.what
    assert f"{off / apart:.2g} of the {apart:.2g} between it and the student" in said.what
    assert f"another at {another:.1%} of the positions" in said.what
    assert 0 < off < 0.1 * apart


def test_rounding_that_is_as_loud_as_the_difference_is_a_warning() -> None:
    looked_at = subject("teacher.dtype=bfloat16")
    looked_at.models["student"] = load(
        replace(looked_at.run.student, name=looked_at.run.teacher.name),
        device=CPU,
        precision="fp32",
    )
    (said,) = rounding(looked_at)
    assert said.severity is Severity.warning
    assert said.mend == "Set teacher.dtype=float32"


@pytest.mark.parametrize(("part", "severity"), [(0.8, Severity.warning), (1.2, Severity.ok)])
def test_it_is_loud_from_a_tenth_of_the_difference_on(
    part: float, severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = subject("teacher.dtype=bfloat16")
    (said,) = rounding(looked_at)
    off, apart = (
        float(said.what.partition(word)[0].split()[-1])
        for word in (" nats a token from itself", " between it and the student")
    )
    assert module.LOUD == 0.1
    # Both figures are rounded to two digits.
    monkeypatch.setattr(module, "LOUD", off / apart * part)
    (said,) = rounding(looked_at)
    assert said.severity is severity


def test_a_token_that_the_student_lacks_is_compared_on_no_side(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.add_tokens(["[PAD]"], special_tokens=True)
    name = save(tmp_path, tokenizer=tokenizer, vocab_size=448, context=256, seed=1)
    looked_at = subject("teacher=hf", f"teacher.name={name}", "teacher.dtype=bfloat16")
    share_ids(looked_at.teacher, looked_at.student)
    (said,) = rounding(looked_at)
    assert "from itself in float32" in said.what


def test_a_teacher_that_has_no_room_beside_itself_is_not_loaded() -> None:
    looked_at = subject("teacher.dtype=bfloat16")
    looked_at.machine = replace(looked_at.machine, free_memory=lambda device: 1000)
    with pytest.raises(MissingPartError, match="in float32 takes"):
        list(rounding(looked_at))


@pytest.mark.usefixtures("wide")
def test_the_doctor_tells_it(distillkit: CommandLine) -> None:
    result = distillkit("doctor", *SMOKE, "teacher.dtype=bfloat16")
    assert "from itself in float32" in found(result, "ok", "rounding")
