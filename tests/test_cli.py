"""Every verb through the real command line, from end to end."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillkit import __version__
from distillkit.compose import compose

from .conftest import SMOKE, CommandLine, contents

TRACKED = ["tracker=wandb", "debug=smoke", "name=run"]
SECRET = "5e" * 20
LEFT = {
    "run.yaml",
    "overrides.yaml",
    "provenance.json",
    "metrics.jsonl",
    "samples.jsonl",
    "log.txt",
    "checkpoints/step-000002/student.safetensors",
    "student/model.safetensors",
    "student/tokenizer.json",
    "curves.png",
    "summary.json",
}


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_version_is_printed(distillkit: CommandLine) -> None:
    assert distillkit("--version").out == f"distillkit {__version__}\n"


@pytest.mark.parametrize("asked", [["--help"], ["-h"], []])
def test_help_lists_the_verbs(asked: list[str], distillkit: CommandLine) -> None:
    out = distillkit(*asked).out
    for verb in ("train", "sweep", "eval", "doctor", "show", "undo-iterate"):
        assert f" {verb} " in out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("trian", "No such command 'trian'. Did you mean 'train'? See distillkit --help."),
        ("train --nope", "No such option: --nope. See distillkit train --help."),
        ("report", "Missing argument 'runs'. See distillkit report --help."),
        ("train --config-dir", "Option '--config-dir' requires an argument. See distillkit --help"),
        ("estimate --repeats x", "Invalid value for '--repeats': "),
    ],
)
def test_wrong_usage_is_one_sentence(asked: str, said: str, distillkit: CommandLine) -> None:
    result = distillkit(*asked.split())
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(f"distillkit: {said}")


def test_show_prints_the_run_as_yaml_and_runs_nothing(
    distillkit: CommandLine, tmp_path: Path
) -> None:
    result = distillkit("show", "divergence=jsd", "beta=0.1")
    assert (result.code, result.err) == (0, "")
    assert yaml.safe_load(result.out) == compose("train", ["divergence=jsd", "beta=0.1"]).named
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(("verb", "needed"), [("undo", []), ("eval", ["run=somewhere"])])
def test_show_prints_the_runs_of_other_verbs(
    distillkit: CommandLine, verb: str, needed: list[str]
) -> None:
    result = distillkit("show", "--verb", verb, *needed)
    assert yaml.safe_load(result.out) == compose(verb, needed).named


def chosen(shown: str) -> dict[str, str | list[str] | None]:
    """What the comment above a shown run says of every group."""
    first, *comment = [line for line in shown.splitlines() if line.startswith("#")]
    assert first == "# Options chosen:"
    return yaml.safe_load("\n".join(line.removeprefix("#   ") for line in comment))


TRAIN_OPTIONS = {
    "teacher": "embedded",
    "student": "embedded",
    "dataset": "arithmetic",
    "policy": "mixed",
    "writer": "local",
    "divergence": "forward_kl",
    "support": "full",
    "reward": "correct",
    "dataset@dataset_pt": None,
    "objective": "divergence",
    "tracker": "wandb",
    "experiment": None,
    "debug": None,
}
TRAIN_ALONE = {"control": None, "placement": "auto"}
UNDO_OPTIONS = {
    "teacher": "tutor",
    "teacher@imitate": None,
    "student": "pupil",
    "dataset@elsewhere": "journey",
    "prompt": "maths",
    "policy": "off_policy",
    "objective": "sft",
}
ON_TEXT = {"dataset@dataset_pt": "text", "objective": "minillm", "debug": "smoke"}
EVAL = ("--verb", "eval", "run=x")


@pytest.mark.parametrize(
    ("typed", "options"),
    [
        ([], TRAIN_OPTIONS | TRAIN_ALONE),
        (["divergence=jsd", "~teacher", "objective=sft"], {"divergence": "jsd", "teacher": None}),
        (["experiment=minillm_gpt2_120m", "debug=smoke"], {"student": "gpt2", **ON_TEXT}),
        (["--verb", "undo"], {**TRAIN_OPTIONS, **UNDO_OPTIONS}),
        (["--verb", "undo", "dataset@elsewhere=null"], {"dataset@elsewhere": None}),
        (["--verb", "undo", "teacher@imitate=qwen3"], {"teacher@imitate": "qwen3"}),
        (EVAL, {"metric": ["accuracy", "length", "agreement"]}),
        ([*EVAL, "metric=all"], {"metric": "all"}),
        ([*EVAL, "metric=[bleu,rouge]"], {"metric": ["bleu", "rouge"]}),
    ],
)
def test_show_says_which_option_every_group_has(
    typed: list[str], options: dict[str, str | list[str] | None], distillkit: CommandLine
) -> None:
    found = chosen(distillkit("show", *typed).out)
    assert found.items() >= options.items()
    known = {
        "train": TRAIN_OPTIONS | TRAIN_ALONE,
        "undo": TRAIN_OPTIONS | UNDO_OPTIONS,
        "eval": {"metric"},
    }
    assert set(found) == set(known[typed[1] if "--verb" in typed else "train"])


def test_show_says_it_of_a_run_that_is_read_back(
    distillkit: CommandLine, finished_run: Path
) -> None:
    shown = distillkit("show", f"resume={finished_run}").out
    named = yaml.safe_load((finished_run / "run.yaml").read_text())
    said = chosen(shown)
    assert said["divergence"] == named["divergence"]["option"]
    assert said["student"] == named["student"]["option"]


def test_the_options_that_show_names_can_be_typed(distillkit: CommandLine) -> None:
    shown = distillkit("show", "experiment=minillm", "student=pupil", "tracker=none").out
    typed = [f"{group}={option}" for group, option in chosen(shown).items() if option]
    assert distillkit("show", *typed).out == shown


def test_show_names_the_verbs_that_it_knows(distillkit: CommandLine) -> None:
    result = distillkit("show", "--verb", "sweep")
    assert (result.code, "train, eval, undo" in result.err) == (2, True)


@pytest.fixture(scope="module")
def tracked_run(distillkit_process: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smoke training in a process of its own, watched by W&B without a network."""
    place = tmp_path_factory.mktemp("tracked")
    folders = {f"WANDB_{name}_DIR": str(place / name) for name in ("CONFIG", "CACHE", "DATA")}
    result = distillkit_process(
        "train",
        *TRACKED,
        folder=place,
        environment={"WANDB_MODE": "offline", "WANDB_API_KEY": SECRET, **folders},
    )
    assert (result.code, result.err) == (0, "")
    return place / "outputs" / "train" / "run"


def test_a_training_leaves_all_of_its_run_directory(tracked_run: Path, finished_run: Path) -> None:
    folder = tracked_run
    assert set(contents(folder)) >= LEFT
    summary = json.loads((folder / "summary.json").read_text())
    composed = compose("train", TRACKED)
    assert yaml.safe_load((folder / "run.yaml").read_text()) == composed.named
    assert yaml.safe_load((folder / "overrides.yaml").read_text()) == composed.overrides
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["fingerprint"] == summary["fingerprint"] == composed.fingerprint
    assert provenance["seed"] == 0
    assert {row["step"] for row in lines(folder / "metrics.jsonl")} == {1, 2}
    assert len(lines(folder / "samples.jsonl")) == 4
    # Another process that ran the same configuration elsewhere found the same numbers.
    assert (folder / "metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()


def test_the_same_command_again_shows_the_result_and_changes_nothing(
    distillkit: CommandLine, finished_run: Path
) -> None:
    before = contents(finished_run)
    result = distillkit("train", *SMOKE, f"output={finished_run.parents[1]}", "name=run")
    assert result.code == 0
    assert "already done" in result.out
    assert "student after" in result.out
    assert contents(finished_run) == before


def test_the_student_loads_with_transformers_alone(finished_run: Path) -> None:
    student = AutoModelForCausalLM.from_pretrained(finished_run / "student")
    tokenizer = AutoTokenizer.from_pretrained(finished_run / "student")
    ids = tokenizer("Tom has 12 apples.", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert student(ids).logits.isfinite().all()


@pytest.mark.parametrize("experiment", ["gkd", "seqkd"])
def test_one_configuration_gives_the_same_bytes_in_two_places(
    experiment: str, distillkit: CommandLine
) -> None:
    for place in ("here", "there"):
        typed = [f"experiment={experiment}", f"output={place}", "name=run", "evaluation.test=0"]
        assert distillkit("train", *SMOKE, *typed).code == 0
    for name in ("metrics.jsonl", "samples.jsonl", "student/model.safetensors"):
        here, there = (Path(place, "train", "run", name) for place in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


def test_weights_and_biases_keeps_an_offline_run_without_secrets(tracked_run: Path) -> None:
    (offline,) = (tracked_run / "wandb").glob("offline-run-*")
    (record,) = offline.glob("*.wandb")
    # What it would send holds the configuration and the numbers.
    assert b"validation/accuracy" in record.read_bytes()
    assert b"micro_batch_tokens" in record.read_bytes()
    kept = contents(tracked_run).items()
    assert [name for name, found in kept if SECRET.encode() in (found or b"")] == []


def test_completion_prints_a_script_and_completes_verbs(
    distillkit: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_DISTILLKIT_COMPLETE", "source_bash")
    script = distillkit()
    assert script.code == 0
    assert "complete -o default -F" in script.out
    monkeypatch.setenv("_DISTILLKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "distillkit tr")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert distillkit().out.split() == ["train"]
