"""Memory and disk of another machine than this one."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from distillkit.compose import compose
from distillkit.core.errors import RunError
from distillkit.core.types import Split
from distillkit.models.decoder import Decoder
from distillkit.models.language_model import evaluating
from distillkit.models.pretrained import Teacher
from distillkit.preflight.machine import Machine, this_machine
from distillkit.preflight.memory import activation_bytes, cache_bytes
from distillkit.preflight.subject import Subject
from distillkit.programs.doctor import doctor
from distillkit.programs.train.assemble import assemble
from distillkit.programs.train.screen import screen
from tests.conftest import SMOKE, CommandLine, Result
from tests.preflight.planted import found
from tests.tiny import build

pytestmark = pytest.mark.usefixtures("wide")

PLENTY = 10**12


def on(machine: Machine, *typed: str) -> tuple[bool, Result]:
    """The doctor's verdict and report on another machine."""
    report = io.StringIO()
    console = Console(file=report, width=1000)
    healthy = doctor(compose("train", [*SMOKE, *typed]), console=console, machine=machine)
    return healthy, Result(0, report.getvalue(), "")


def small(*, memory: int = PLENTY, disk: int = PLENTY) -> Machine:
    return Machine(free_memory=lambda device: memory, free_disk=lambda path: disk)


def test_too_little_memory_for_gradients_and_moments_is_found() -> None:
    healthy, report = on(small(memory=7_000_000))
    assert not healthy
    said = found(report, "fatal", "memory")
    assert "gradients and AdamW moments take 7.6 MB on cpu" in said
    assert "7 MB are free" in said
    assert "mend: Choose a smaller student.name" in said
    assert found(report, "skipped", "pace")


def test_too_little_memory_for_activations_is_warned_of() -> None:
    healthy, report = on(small(memory=9_000_000))
    assert healthy
    said = found(report, "warning", "peak")
    assert "mend: Set loop.micro_batch_tokens=" in said
    assert "student.gradient_checkpointing=true or precision=bf16" in said
    roomy = on(small(memory=PLENTY))[1]
    assert "MB" in found(roomy, "ok", "peak")


def test_activations_are_counted_by_the_token(tmp_path: Path) -> None:
    """Copies of the weights in another type, as autocast makes, are no activations."""
    for precision in ("fp32", "bf16"):
        run = compose("train", [*SMOKE, f"precision={precision}"]).run
        subject = Subject(run=run, folder=tmp_path, room=1, machine=small())
        parts = assemble(run)
        subject.models.update(student=parts.sides.student, teacher=parts.sides.teacher)
        subject.examples[Split.train] = parts.train
        fixed, each = activation_bytes(parts.sides.student, subject)
        # Three layers, each of width 128 and 336 inside, keep a few dozen such vectors.
        assert 3 * 10 * 128 < each / (4 if precision == "fp32" else 2) < 3 * 50 * 128
        assert (fixed > 0.8 * 2 * 580_000) == (precision == "bf16")


def test_gradient_checkpointing_lowers_the_estimate() -> None:
    def estimate(*typed: str) -> float:
        said = found(on(small(), *typed)[1], "ok", "peak")
        amount, unit = said.split("peaks at about ")[1].split(":")[0].split()
        assert unit == "MB"
        return float(amount)

    assert estimate("student.gradient_checkpointing=true") < 0.8 * estimate()


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "opt"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_caches_are_counted_by_the_token(family: str, precision: str) -> None:
    """As large as the real one after so many tokens, with either kind of decoder."""
    model = build(family, side=Teacher, precision=precision)
    rows, length = 3, 7
    decoder = model.way.ready()(rows=rows, length=length)
    with evaluating(model):
        decoder(torch.full((rows, length), 5), torch.arange(length)[None].expand(rows, -1), None)
    if isinstance(decoder, Decoder):
        parts = [layer._cache for layer in decoder._layers]
    else:
        parts = [part for layer in decoder._cache.layers for part in (layer.keys, layer.values)]
    held = sum(part.nbytes for part in parts)
    assert cache_bytes(model, rows=rows, length=length) == held


def writing(*typed: str) -> float:
    """Bytes that writing is said to take."""
    said = found(on(small(), *typed)[1], "ok", "writing")
    amount, unit = said.split("takes about ")[1].split(" beside")[0].split()
    return float(amount) * {"kB": 1e3, "MB": 1e6}[unit]


def test_a_mixture_has_two_models_write_at_once() -> None:
    """The teacher's cache is the larger one, and its distributions are there too."""
    alone, mixed = writing("policy=on_policy"), writing("policy=teacher_mixed")
    assert mixed > 2 * alone
    longer = ("policy=teacher_mixed", "rollout.max_new_tokens=80")
    assert (most := writing(*longer)) > 1.5 * mixed
    assert writing(*longer, "rollout.batch_size=1") < 0.3 * most
    assert "nobody writes" in found(on(small(), "policy=off_policy")[1], "ok", "writing")


def test_too_little_memory_for_writing_is_warned_of() -> None:
    said = found(on(small(memory=8_000_000), "policy=teacher_mixed")[1], "warning", "writing")
    assert "for the student and the teacher" in said
    assert "mend: Lower rollout.batch_size" in said


def test_a_full_disk_is_found() -> None:
    healthy, report = on(small(disk=20_000_000))
    assert not healthy
    said = found(report, "fatal", "disk")
    assert "output=outputs needs 27.9 MB: 3 checkpoints of 7.6 MB" in said
    assert "20 MB are free" in said
    assert "mend: Set checkpoint.keep_last=1" in said


def test_a_full_disk_stops_a_training_before_it_claims_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = compose("train", [*SMOKE]).run
    parts = assemble(run)
    with pytest.raises(RunError, match=r"output=outputs needs 27.9 MB.*keep_last=1"):
        screen(run, parts, tmp_path / "run", machine=small(disk=20_000_000))
    assert screen(run, parts, tmp_path / "run", machine=small()) == ()
    # What an interrupted run of this name already holds needs no room again.
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint").write_bytes(bytes(10_000_000))
    screen(run, parts, tmp_path / "run", machine=small(disk=20_000_000))


def test_a_place_that_cannot_be_written_is_found(distillkit: CommandLine) -> None:
    Path("outputs").write_text("mine")
    said = found(distillkit("doctor", *SMOKE), "fatal", "place")
    assert "outputs is not a folder that can be written" in said


def test_this_machine_knows_what_is_free(tmp_path: Path) -> None:
    machine = this_machine()
    assert machine.free_disk(tmp_path / "not" / "yet") > 0
    free = machine.free_memory(torch.device("cpu"))
    assert free is not None
    assert 10**6 < free < 10**15
