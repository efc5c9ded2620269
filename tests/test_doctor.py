"""Faults planted in models and settings on disk, found by the doctor through the command line."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from distillkit.compose import compose
from distillkit.core.errors import RunError
from distillkit.core.types import Split
from distillkit.models.loading import EMBEDDED
from distillkit.preflight.machine import Machine, this_machine
from distillkit.preflight.memory import activation_bytes
from distillkit.preflight.subject import Subject
from distillkit.programs.assemble import assemble
from distillkit.programs.doctor import doctor
from distillkit.programs.screen import screen

from .conftest import SMOKE, CommandLine, Result, contents
from .tiny import save

PLENTY = 10**12
HEALTHY = (*SMOKE, "rollout.max_new_tokens=64")
"""The smoke run with room for whole answers."""
STUDENT, TEACHER = "student.name=model", "teacher.name=model"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings of one line each, so that they can be searched for words."""
    monkeypatch.setenv("COLUMNS", "1000")


def found(result: Result, severity: str, check: str) -> str:
    """What a check said with a severity, with its why and its mend, as one text."""
    assert "Traceback" not in result.out + result.err, result
    said, inside = [], False
    for line in result.out.splitlines():
        if line[:1].strip():
            inside = line.split()[0] == severity and line[8:].startswith(check)
        if inside:
            said.append(line.strip())
    return "\n".join(said)


def edited(name: str, **values: Any) -> Callable[[Path], None]:
    """A change of a JSON file's fields."""

    def change(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def swapped(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    entries = tokenizer["model"]["vocab"]
    left, right = (entry for entry, index in entries.items() if index in (100, 101))
    entries[left], entries[right] = entries[right], entries[left]
    edited("tokenizer.json", model=tokenizer["model"])(folder)


TABS_TO_SPACES = {"type": "Replace", "pattern": {"String": "\t"}, "content": " "}


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def as_it_is(folder: Path) -> None:
    pass


def model(change: Callable[[Path], None] = as_it_is, *, side: str = "student") -> None:
    """``model/``: one side of the embedded pair with a fault."""
    shutil.copytree(EMBEDDED / side, "model")
    change(Path("model"))


def closing(folder: Path) -> None:
    """A template that closes an assistant's turn with <pad>, which nothing stops at."""
    (folder / "chat_template.jinja").write_text(
        "{% for turn in messages %}{{ turn['content'] }}<pad>{% endfor %}"
    )


NOT_ITS_OWN_END = edited("tokenizer_config.json", eos_token="<pad>", pad_token="<eos>")

FATAL: list[tuple[Callable[[Path], None], list[str], str, list[str]]] = [
    (swapped, [STUDENT], "vocabulary", ["different tokenizers", "mend: Choose two models"]),
    (
        edited("tokenizer.json", normalizer=TABS_TO_SPACES),
        [STUDENT],
        "encodings",
        ["1 of 9 probe texts", "two spaces", "mend: Choose two models of one family"],
    ),
    (
        edited("config.json", max_position_embeddings=60),
        [STUDENT],
        "lengths",
        ["of 16 training prompts", "no room for 24", "mend: Set loop.max_prompt_tokens=36"],
    ),
    (
        edited("config.json", max_position_embeddings=33),
        [STUDENT, "policy=off_policy"],
        "lengths",
        ["validation prompts fill a context of 33", "mend: Leave these rows out"],
    ),
    (
        without_template,
        [TEACHER, "teacher.prompt=chat"],
        "teacher",
        ["teacher.prompt=chat", "no chat template", "mend: Use teacher.prompt=alpaca"],
    ),
    (as_it_is, [TEACHER], "zero", ["already agree", "mend: Choose another teacher.name"]),
]


@pytest.mark.parametrize(
    ("change", "typed", "check", "words"), FATAL, ids=[f"{case[2]}-{case[3][0]}" for case in FATAL]
)
def test_a_fault_with_which_a_run_is_not_fit_is_found(
    change: Callable[[Path], None],
    typed: list[str],
    check: str,
    words: list[str],
    distillkit: CommandLine,
) -> None:
    model(change)
    result = distillkit("doctor", *SMOKE, *typed)
    assert result.code == 1, result
    for word in words:
        assert word in found(result, "fatal", check), result.out
    # The report is complete: what does not depend on the fault was looked at.
    assert "checkpoints" in found(result, "ok", "disk") or "student" in check
    assert "not fit to run" in result.out


WARNINGS: list[tuple[Callable[[Path], None], list[str], str, list[str]]] = [
    (
        NOT_ITS_OWN_END,
        [STUDENT],
        "one end",
        ["end their text differently", "closed with <eos>", "mend: Choose a teacher.name and"],
    ),
    (
        edited("generation_config.json", eos_token_id=5),
        [STUDENT],
        "ends",
        ["generation_config ends text with '$'", "the tokenizer with '<eos>'", "mend: Set eos_"],
    ),
    (
        as_it_is,
        [STUDENT, "student.prompt=chat"],
        "ends",
        ["template puts", "after an assistant's turn", "length limit", "mend: Use student.prompt="],
    ),
    (closing, [TEACHER, "teacher.prompt=chat"], "ends", ["template puts '<pad>' after"]),
    (as_it_is, [TEACHER], "difference", ["identical weights", "mend: Choose another teacher"]),
    (
        as_it_is,
        ["rollout.max_new_tokens=4"],
        "lengths",
        ["of the references are longer", "mend: Set rollout.max_new_tokens="],
    ),
    (
        edited("config.json", max_position_embeddings=50),
        [STUDENT, "policy=off_policy"],
        "lengths",
        ["training references do not fit", "carry no end token", "mend: Set a smaller loop.max"],
    ),
    (
        as_it_is,
        ["objective.control=shuffled_teacher"],
        "signal",
        ["breaks the teacher on purpose", "mend: Set objective.control=none"],
    ),
]


@pytest.mark.parametrize(
    ("change", "typed", "check", "words"),
    WARNINGS,
    ids=[f"{case[2]}-{case[3][0]}" for case in WARNINGS],
)
def test_a_fault_that_a_run_would_survive_is_warned_of(
    change: Callable[[Path], None],
    typed: list[str],
    check: str,
    words: list[str],
    distillkit: CommandLine,
) -> None:
    model(change)
    result = distillkit("doctor", *SMOKE, *typed)
    for word in words:
        assert word in found(result, "warning", check), result.out


def test_a_head_smaller_than_the_tokenizer_is_found(distillkit: CommandLine) -> None:
    save(Path("model"), vocab_size=300, context=256)
    result = distillkit("doctor", *SMOKE, STUDENT)
    assert result.code == 1
    said = found(result, "fatal", "student")
    assert "300 rows for a tokenizer of 382" in said
    assert "mend: Use the tokenizer" in said
    # The other side is looked at all the same, and what needs both says so.
    assert "382 rows" in found(result, "ok", "heads")
    assert "the student could not be loaded" in found(result, "skipped", "signal")


def test_rows_that_pad_a_head_are_counted(distillkit: CommandLine) -> None:
    save(Path("model"), vocab_size=400, context=256)
    result = distillkit("doctor", *SMOKE, STUDENT)
    assert "400 rows for 382 real ids, 18 rows are padding" in found(result, "ok", "heads")


def test_a_teacher_with_random_weights_is_found(distillkit: CommandLine) -> None:
    save(Path("model"), context=256)
    result = distillkit("doctor", *SMOKE, TEACHER)
    said = found(result, "warning", "signal")
    assert "no better than the uniform distribution" in said
    assert "no better than the student on this text" in said
    assert "mend: Choose a stronger teacher.name" in said


def test_a_teacher_that_says_the_same_everywhere_is_found(distillkit: CommandLine) -> None:
    save(Path("model"), context=256)
    # A norm of zeros before the head gives every token the same logit.
    weights(Path("model"), lambda name, tensor: tensor * (name != "model.norm.weight"))
    result = distillkit("doctor", *SMOKE, TEACHER)
    assert result.code == 1
    said = found(result, "fatal", "signal")
    assert "no better than one that is shuffled" in said
    assert "with a shuffled one alike" in said
    assert "mend: Check teacher.name" in said


def weights(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    """Rewrite the tensors of a model."""
    file = folder / "model.safetensors"
    changed = {name: change(name, tensor) for name, tensor in load_file(file).items()}
    save_file(changed, file, metadata={"format": "pt"})


def test_weights_that_are_no_numbers_are_found_where_loading_does_not_pass(
    distillkit: CommandLine,
) -> None:
    save(Path("model"), context=256, tied=False)

    def spoil(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name == "model.embed_tokens.weight":
            tensor[380] = torch.nan
        return tensor

    weights(Path("model"), spoil)
    result = distillkit("doctor", *SMOKE, STUDENT)
    assert result.code == 1
    said = found(result, "fatal", "weights")
    assert "student.name=model has weights that are not finite" in said
    assert "model.embed_tokens.weight" in said
    # A training is stopped by it, too.
    refused = distillkit("train", *SMOKE, STUDENT)
    assert refused.code == 2
    assert "distillkit: student.name=model has weights that are not finite" in refused.err


def test_rows_without_a_reference_are_found(distillkit: CommandLine) -> None:
    rows = [{"prompt": f"What is {n}?", "response": str(n)} for n in range(8)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ["dataset=jsonl", "dataset.path=rows.jsonl", "dataset.validation_share=2"]
    typed = [*data, "dataset.response_field=null", "policy=off_policy"]
    result = distillkit("doctor", "tracker=none", "steps=2", *typed)
    assert result.code == 1
    assert "have no reference response" in found(result, "fatal", "lengths")
    # The teacher writes the probe batch instead.
    assert "nats a token" in result.out


def test_several_faults_are_all_reported(distillkit: CommandLine) -> None:
    model(edited("tokenizer.json", normalizer=TABS_TO_SPACES))
    edited("config.json", max_position_embeddings=60)(Path("model"))
    result = distillkit("doctor", *SMOKE, STUDENT, "beta=0.1", "teacher.name=no/such/folder")
    assert "beta=0.1 has no effect" in found(result, "fatal", "settings")
    assert "no/such/folder" in found(result, "fatal", "teacher")
    assert "the teacher could not be loaded" in found(result, "skipped", "encodings")
    result = distillkit("doctor", *SMOKE, STUDENT, "device=cpu", "optimizer.lr=1e30")
    assert result.code == 1
    for check in ("encodings", "lengths", "pace"):
        assert found(result, "fatal", check)


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
    said = found(distillkit("doctor", *SMOKE), "fatal", "disk")
    assert "outputs is not a folder that can be written" in said


def test_this_machine_knows_what_is_free(tmp_path: Path) -> None:
    machine = this_machine()
    assert machine.free_disk(tmp_path / "not" / "yet") > 0
    free = machine.free_memory(torch.device("cpu"))
    assert free is not None
    assert 10**6 < free < 10**15


def test_a_tracker_that_is_offline_is_warned_of(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    result = distillkit("doctor", *SMOKE, "tracker=wandb")
    assert result.code == 0
    assert "mend: Run wandb login first, or set tracker=none" in found(result, "warning", "tracker")
    monkeypatch.setenv("WANDB_MODE", "online")
    assert found(distillkit("doctor", *SMOKE, "tracker=wandb"), "ok", "tracker")


def test_a_healthy_pair_passes_without_a_warning_and_leaves_no_file(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    result = distillkit("doctor", *HEALTHY)
    assert (result.code, result.err) == (0, "")
    assert "nothing fatal" in result.out
    assert "0 warning, 0 fatal, 0 skipped" in result.out
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "typed",
    [["experiment=sft"], ["experiment=seqkd"], ["policy=on_policy", "divergence=reverse_kl"]],
    ids=" ".join,
)
def test_other_methods_pass_too(typed: list[str], distillkit: CommandLine, tmp_path: Path) -> None:
    result = distillkit("doctor", *HEALTHY, *typed)
    assert result.code == 0, result.out
    assert "0 warning" in result.out
    assert "to the end" in found(result, "ok", "pace")
    assert contents(tmp_path) == {}


def test_the_time_to_the_end_grows_with_the_steps(distillkit: CommandLine) -> None:
    said = found(distillkit("doctor", *SMOKE, "steps=1000000"), "ok", "pace")
    assert "1000000 steps" in said
    assert " h" in said


def test_both_prompts_are_shown_side_by_side(distillkit: CommandLine) -> None:
    result = distillkit("doctor", *SMOKE, "teacher.prompt=alpaca")
    assert "different text, as shown" in found(result, "ok", "prompts")
    (heads,) = [line for line in result.out.splitlines() if "student (plain" in line]
    assert "teacher (alpaca" in heads
    assert "### Instruction:" in result.out


def test_overrides_that_do_not_compose_are_bad_input(distillkit: CommandLine) -> None:
    result = distillkit("doctor", "steps=many")
    assert result.code == 2
    assert result.err.startswith("distillkit: steps: Value 'many'")


def test_a_training_prints_the_doctors_warnings_as_notes(distillkit: CommandLine) -> None:
    done = distillkit("train", *SMOKE, "teacher.name=embedded:student", "policy=off_policy")
    assert done.code == 0, done.err
    assert "note: teacher and student have identical weights. Choose another teacher" in done.out


def test_a_training_with_tokenizers_that_split_text_differently_is_stopped(
    distillkit: CommandLine,
) -> None:
    model(edited("tokenizer.json", normalizer=TABS_TO_SPACES))
    refused = distillkit("train", *SMOKE, STUDENT)
    assert refused.code == 2
    assert refused.err.startswith("distillkit: teacher and student encode 1 of 9 probe texts")
    assert not Path("outputs").exists()
