"""Yaml files of others fill fields, and run, read and send nothing."""

import os
from pathlib import Path

import pytest

from distillkit.compose import check_hydra, compose, grid_of
from distillkit.core.errors import ConfigError

EXPERIMENT = "# @package _global_\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

FILES = [
    ("hydra: {callbacks: {a: {_target_: site.addsitedir, sitedir: here}}}", "_target_ names code"),
    ("hydra: {callbacks: {a: {b: 1}}}", "speaks of hydra"),
    ("hydra: {job_logging: {handlers: {a: {(): os.system, command: x}}}}", "speaks of hydra"),
    ("hydra: {hydra_logging: {handlers: {a: {class: os.system}}}}", "speaks of hydra"),
    ("hydra: {launcher: {_target_: os.system}}", "_target_ names code"),
    ("hydra: {sweeper: {custom_search_space: os.system}}", "custom_search_space names code"),
    ("hydra: {launcher: {setup: [touch x]}}", "speaks of hydra"),
    ("hydra: {sweeper: {params: {seed: '1,2'}}}", "speaks of hydra"),
    ("hydra: {searchpath: ['pkg://torch']}", "speaks of hydra"),
    ("hydra: {run: {dir: x}}", "speaks of hydra"),
    ("hydra: {job: {chdir: true}}", "speaks of hydra"),
    ("hydra: {job: {env_set: {LD_PRELOAD: x.so}}}", "speaks of hydra"),
    ("hydra: {output_subdir: x}", "speaks of hydra"),
    ("hydra: [1]", "speaks of hydra"),
    ("defaults: [{override /hydra/callbacks: x}]", "speaks of hydra"),
    ("defaults: [{/divergence@hydra.callbacks: jsd}]", "speaks of hydra"),
    ("defaults: [/hydra/callbacks/x]", "speaks of hydra"),
    ("student: {_target_: os.system}", "_target_ names code"),
    ("student: {trust_remote_code: true}", "student.trust_remote_code=true stands in a file"),
    ("name: ${oc.env:OPENAI_API_KEY}", "${oc.env:OPENAI_API_KEY} would put a key"),
    ("name: ${oc.env:openai_api_key}", "would put a key"),
    ("name: ${oc.env:WANDB_API_KEY,x}", "would put a key"),
    ("name: '${oc.${tracker.project}:HF_TOKEN}'\ntracker: {project: env}", "would put a key"),
    ("name: '${oc.decode:\"${oc.env:HF_TOKEN}\"}'", "would put a key"),
    ("name: '${oc.env:MY_PLACE}'", "stands in a file, which may read"),
    ("student: {template: {a: '${oc.env:HF_TOKEN}'}}", "would put a key"),
    ("name: a-secret-of-the-machine-1", "name holds the value of OPENAI_API_KEY"),
    ("steps: a-secret-of-the-machine-1", "<OPENAI_API_KEY>"),
    (
        "tracker: {tags: [x, xa-secret-of-the-machine-2]}",
        "tracker.tags holds the value of HF_TOKEN",
    ),
    ("steps: !!python/object/apply:os.system [touch x]", "cannot be read"),
    ("steps: !!python/name:os.system", "cannot be read"),
    ("steps: [1", "cannot be read"),
    ("steps: {1: 2}", "steps"),
    ("- steps", "holds no fields"),
    ("text", "holds no fields"),
    ("1: 2", "holds no fields"),
    (BOMB, "unfolds to more than"),
    (MERGES, "unfolds to more than"),
    ("a: &a [*a]", "stands for itself"),
    ("a: " + "[" * 2000, "cannot be read"),
    ("name: " + "x" * 300_000, "larger than 256 KiB"),
    ("seed: 1e400", "seed"),
    ("optimizer: {lr: .nan}", "optimizer.lr must be a finite number"),
    ("seed: 99999999999999999999", "seed must be a number of at most 64 bits"),
    ("steps: 2\nsteps: 3", "cannot be read"),
    ('name: "a\\0b"', "holds a character that no file can"),
    ("defaults: 3", "defaults"),
    ("defaults: [{override /divergence: [1]}]", "experiment"),
]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("OPENAI_API_KEY", 1), ("HF_TOKEN", 2), ("WANDB_API_KEY", 3)):
        monkeypatch.setenv(name, f"a-secret-of-the-machine-{number}")
    monkeypatch.setenv("MY_PLACE", "place")


def own(folder: Path, text: str | bytes, name: str = "experiment/mine.yaml") -> Path:
    file = folder / "own" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / "own"


def refused(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as refusal:
        compose("train", overrides, config_dir=folder)
    sentence = str(refusal.value)
    assert "a-secret-of" not in sentence
    assert sentence.isprintable()
    return sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [pytest.param(*case, id=f"{i}-{case[0][:30]!a}") for i, case in enumerate(FILES)],
)
def test_a_file_that_asks_for_more_than_fields_is_refused(
    text: str, words: str, tmp_path: Path
) -> None:
    assert words in refused(own(tmp_path, EXPERIMENT + text), "experiment=mine")
    assert not Path("x").exists()


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"\x80steps: 1", b"steps: \x001", "steps: 1".encode("utf-16")]
)
def test_a_file_that_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "mine.yaml" in refused(own(tmp_path, content), "experiment=mine")


@pytest.mark.parametrize("package", ["hydra.callbacks", "_global_.hydra.job", "hydra"])
def test_a_file_may_not_place_itself_in_hydra(package: str, tmp_path: Path) -> None:
    folder = own(tmp_path, f"# @package {package}\na: 1\n")
    assert "speaks of hydra" in refused(folder, "experiment=mine")


def test_options_of_hydra_itself_are_not_read_from_the_folder(tmp_path: Path) -> None:
    folder = own(tmp_path, "a: 1\n", "hydra/launcher/mine.yaml")
    with pytest.raises(ConfigError, match="no such option"):
        check_hydra(grid_of(["hydra/launcher=mine"]).hydras, folder)


def test_a_file_may_say_who_runs_a_sweep_and_with_how_many(tmp_path: Path) -> None:
    text = "defaults: [{override /hydra/sweeper: basic}]\nhydra: {sweeper: {max_batch_size: 2}}\n"
    folder = own(tmp_path, f"{EXPERIMENT}{text}steps: 7\n")
    assert compose("train", ["experiment=mine"], config_dir=folder).run.steps == 7


def test_harmless_variables_are_read_from_files_and_others_where_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    folder = own(tmp_path, f"{EXPERIMENT}output: ${{oc.env:SCRATCH}}/runs\n")
    assert compose("train", ["experiment=mine"], config_dir=folder).run.output == "/scratch/runs"
    assert compose("train", ["name=${oc.env:MY_PLACE}"]).run.name == "place"
    with pytest.raises(ConfigError, match="would put a key"):
        compose("train", ["name=${oc.env:OPENAI_API_KEY}"])
    with pytest.raises(ConfigError, match=r"name=<HF_TOKEN> holds the value of HF_TOKEN"):
        compose("train", [f"name={os.environ['HF_TOKEN']}"])


def test_code_of_a_repository_is_trusted_where_that_is_typed(tmp_path: Path) -> None:
    folder = own(tmp_path, f"{EXPERIMENT}teacher: {{trust_remote_code: true}}\n")
    assert "type teacher.trust_remote_code=true" in refused(folder, "experiment=mine")
    typed = ["experiment=mine", "teacher.trust_remote_code=true"]
    assert compose("train", typed, config_dir=folder).run.teacher.trust_remote_code


def test_a_function_of_a_module_is_named_by_hand(tmp_path: Path) -> None:
    text = "defaults: [{override /reward: python}]\nreward: {function: 'this:x'}\n"
    folder = own(tmp_path, EXPERIMENT + text)
    assert "importing it runs its code" in refused(folder, "experiment=mine")
    typed = ["experiment=mine", "reward.function=this:x"]
    assert compose("train", typed, config_dir=folder).run.reward.function == "this:x"


def test_a_key_goes_to_hosts_that_were_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "defaults: [{override /teacher: endpoint}]\nteacher: {url: https://evil.org/v1, model: x}\n"
    )
    folder = own(tmp_path, EXPERIMENT + text)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY would be sent to https://evil"):
        compose("undo", ["experiment=mine"], config_dir=folder)
    typed = ["experiment=mine", "teacher.url=https://evil.org/v1"]
    assert compose("undo", typed, config_dir=folder).run.teacher.model == "x"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert compose("undo", ["experiment=mine"], config_dir=folder).run.teacher.model == "x"


@pytest.mark.parametrize("name", ["file", "missing", "x" * 300])
def test_a_folder_that_is_none_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / name).startswith("--config-dir")
