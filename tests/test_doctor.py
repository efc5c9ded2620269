"""The doctor as a verb: a healthy pair, its report, and its quick part inside train."""

from pathlib import Path

import pytest

from tests.conftest import SMOKE, CommandLine, contents
from tests.preflight.planted import STUDENT, TABS_TO_SPACES, edited, found, model

pytestmark = pytest.mark.usefixtures("wide")

HEALTHY = (*SMOKE, "rollout.max_new_tokens=64")
"""The smoke run with room for whole answers."""


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
    [
        ["experiment=sft"],
        ["experiment=seqkd"],
        ["policy=on_policy", "divergence=reverse_kl"],
        ["policy=teacher_mixed", "divergence=reverse_kl"],
    ],
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


def test_the_tokens_that_are_trained_on_are_shown_in_brackets(distillkit: CommandLine) -> None:
    result = distillkit("doctor", *SMOKE)
    assert "13 of 38 tokens are trained on" in found(result, "ok", "mask")
    (shown,) = [line for line in result.out.splitlines() if "<eos><-end]" in line]
    assert shown.strip().endswith("|####| 2|8|<eos><-end]")
    assert "[4|3| -| 1|5| =| 2|8|" in result.out


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
