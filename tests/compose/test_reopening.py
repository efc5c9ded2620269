"""The way back from a run directory: by the options in run.yaml, and only if nothing changed."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from distillkit.compose import Composed, compose, reopen
from distillkit.core.errors import RunError

CHOSEN = ["divergence=jsd", "beta=0.1", "policy=mixed", "seed=3"]


def leave(folder: Path, composed: Composed, *, digests: bool = True, old: bool = False) -> Path:
    """The run directory of a run that has just begun, of this version or of an earlier one."""
    folder.mkdir()
    text = yaml.safe_dump(composed.config, sort_keys=False) if old else composed.yaml()
    (folder / "run.yaml").write_text(text)
    (folder / "overrides.yaml").write_text(json.dumps(composed.overrides))
    record: dict = {"fingerprint": composed.fingerprint}
    if digests and not old:
        names = ("run.yaml", "overrides.yaml")
        record["files"] = {n: sha256((folder / n).read_bytes()).hexdigest() for n in names}
    (folder / "provenance.json").write_text(json.dumps(record))
    return folder


def test_show_and_run_yaml_name_the_options_beside_their_fields() -> None:
    values = yaml.safe_load(compose("train", CHOSEN).yaml())
    assert values["divergence"] == {"option": "jsd", "beta": 0.1, "normalize": False}
    assert values["support"] == {"option": "full"}
    assert values["objective"]["divergence"]["option"] == "jsd"
    assert list(values["student"])[:2] == ["option", "name"]
    metrics = yaml.safe_load(compose("eval", ["run=x"]).yaml())["metric"]
    assert metrics["length"]["option"] == "length"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "more",
    [['name="1e-3"', "seed=1"], ["teacher=null", "objective=sft", "policy=off_policy"], CHOSEN],
)
def test_runs_of_this_version_and_of_earlier_ones_are_the_same_again(
    old: bool, more: list[str], tmp_path: Path
) -> None:
    composed = compose("train", more)
    again = reopen(leave(tmp_path / "run", composed, old=old))
    assert (again.run, again.fingerprint) == (composed.run, composed.fingerprint)


def test_a_run_is_composed_though_its_folder_of_yaml_files_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "own/divergence/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("defaults: [/schema/divergence/jsd@_here_, _self_]\nbeta: 0.3\n")
    composed = compose("train", ["divergence=mine"], config_dir=tmp_path / "own")
    folder = leave(tmp_path / "run", composed)
    file.unlink()
    assert reopen(folder).run == composed.run


def edited(file: Path) -> None:
    file.write_text(file.read_text().replace("seed: 3", "seed: 4").replace("seed=3", "seed=4"))


@pytest.mark.parametrize("old", [False, True])
def test_a_run_yaml_that_was_edited_is_refused(old: bool, tmp_path: Path) -> None:
    folder = leave(tmp_path / "run", compose("train", CHOSEN), old=old)
    edited(folder / "run.yaml")
    with pytest.raises(RunError, match=r"run\.yaml has changed since the run was made"):
        reopen(folder)


def test_overrides_that_were_edited_are_refused(tmp_path: Path) -> None:
    folder = leave(tmp_path / "run", compose("train", CHOSEN))
    edited(folder / "overrides.yaml")
    with pytest.raises(RunError, match=r"overrides\.yaml has changed"):
        reopen(folder)


DAMAGE: list[Callable[[str], str | bytes]] = [
    lambda _: "",
    lambda _: "[]",
    lambda _: "{}",
    lambda _: "null",
    lambda _: "text",
    lambda _: b"\xff\xfe",
    lambda _: "a: " + "[" * 5000,
    lambda _: "a: &a [*a]",
    lambda kept: kept[: len(kept) // 2] + "{",
    lambda kept: kept.replace("option: jsd", "option: nope"),
    lambda kept: kept.replace("option: jsd", "option: [jsd]"),
    lambda kept: kept + "\nmade_up: 1\n",
    lambda kept: kept + "\nhydra: {callbacks: {a: {_target_: os.system}}}\n",
    lambda kept: kept.replace("steps: 250", "steps: many"),
    lambda kept: kept.replace("beta: 0.1", "beta: .nan"),
    lambda kept: kept.replace("name: null", "name: ${oc.env:OPENAI_API_KEY}"),
]


@pytest.mark.parametrize("number", range(len(DAMAGE)))
@pytest.mark.parametrize("digests", [True, False])
def test_whatever_is_wrong_with_run_yaml_is_one_sentence(
    number: int, digests: bool, tmp_path: Path
) -> None:
    folder = leave(tmp_path / "run", compose("train", CHOSEN), digests=digests)
    damaged = DAMAGE[number]((folder / "run.yaml").read_text())
    (folder / "run.yaml").write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    with pytest.raises(RunError, match=f"run={folder}") as refusal:
        reopen(folder)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", "- [", "[a b]"])
def test_whatever_is_wrong_with_old_overrides_is_one_sentence(text: str, tmp_path: Path) -> None:
    folder = leave(tmp_path / "run", compose("train", CHOSEN), old=True)
    (folder / "overrides.yaml").write_text(text)
    with pytest.raises(RunError, match=f"run={folder}"):
        reopen(folder)


def test_an_old_run_of_a_stranger_says_nothing_to_hydra(tmp_path: Path) -> None:
    composed = compose("train", CHOSEN)
    folder = leave(tmp_path / "run", composed, old=True)
    evil = ["hydra.callbacks.a._target_=os.system", "+hydra.job.env_set.LD_PRELOAD=x"]
    (folder / "overrides.yaml").write_text(json.dumps([*CHOSEN, *evil]))
    assert reopen(folder).run == composed.run


def test_code_of_a_repository_is_trusted_again_by_hand(tmp_path: Path) -> None:
    composed = compose("train", ["teacher.trust_remote_code=true"])
    folder = leave(tmp_path / "run", composed)
    with pytest.raises(RunError, match=r"teacher\.trust_remote_code=true.*add trust_remote_code="):
        reopen(folder)
    assert reopen(folder, trusted=True).run.teacher.trust_remote_code


def test_a_run_of_undo_iterate_is_told_from_a_training(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is a run of undo-iterate.*train/iteration-0"):
        reopen(leave(tmp_path / "run", compose("undo", [])))
