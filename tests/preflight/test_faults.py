"""Faults planted in models and settings on disk, found through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import SMOKE, CommandLine
from tests.preflight.planted import (
    STUDENT,
    TABS_TO_SPACES,
    TEACHER,
    as_it_is,
    closing,
    edited,
    found,
    model,
    swapped,
    weights,
    without_template,
)
from tests.tiny import save

pytestmark = pytest.mark.usefixtures("wide")

NOT_ITS_OWN_END = edited("tokenizer_config.json", eos_token="<pad>", pad_token="<eos>")


def closing_with_an_end(folder: Path) -> None:
    closing(folder)
    edited("generation_config.json", eos_token_id=[0, 1])(folder)


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
        [
            r"template puts '\n' after an assistant's turn",
            "length limit",
            "mend: Use student.prompt=",
        ],
    ),
    (closing, [TEACHER, "teacher.prompt=chat"], "ends", ["template puts '<pad>' after"]),
    (
        closing_with_an_end,
        [TEACHER, "teacher.prompt=chat"],
        "ends",
        ["closes an assistant's turn with '<pad>', references are closed with '<eos>'"],
    ),
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


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(distillkit: CommandLine) -> None:
    refusing = "{{ raise_exception('no system turns') }}"
    model(lambda folder: (folder / "chat_template.jinja").write_text(refusing) and None)
    result = distillkit("doctor", *SMOKE, STUDENT, "student.prompt=chat")
    assert result.code == 1
    said = found(result, "fatal", "prompts")
    assert "the chat template cannot render" in said
    assert "(user): no system turns" in said
    assert "mend: Mend the row, or use student.prompt=plain" in said
    assert found(result, "ok", "memory")


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
