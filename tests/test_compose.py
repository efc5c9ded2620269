"""Overrides to runs: every committed yaml, shorthands, fingerprints, and the way back."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from distillkit.compose import (
    Composed,
    compose,
    conf_folder,
    reopen,
)
from distillkit.core.errors import ConfigError
from distillkit.core.fingerprint import NOT_IN_FINGERPRINT
from distillkit.core.rundir import RunDirectory
from distillkit.core.spec import SPECS

CONF = conf_folder()
OPTIONS = sorted(
    f"{file.parent.relative_to(CONF)}={file.stem}"
    for file in CONF.glob("*/**/*.yaml")
    if file.parent.name != "settings"
)
REQUIRED = {
    "teacher=hf": ["teacher.name=a/model"],
    "student=hf": ["student.name=a/model"],
    "dataset=alpaca": ["dataset.path=rows.jsonl"],
    "dataset=chat": ["dataset.path=rows.jsonl"],
    "dataset=jsonl": ["dataset.path=rows.jsonl"],
    "dataset=lessons": ["dataset.path=lessons.jsonl"],
    "dataset=mixed": ["+dataset@dataset.parts.market=arithmetic"],
    "dataset=text": ["dataset.path=rows.jsonl"],
    "metric=judge": ["metric.judge.endpoint.model=a-judge"],
    "experiment=smollm2_recover": ["dataset.path=stories"],
    "teacher=cached": ["teacher.path=a-cache"],
    "teacher=endpoint": ["teacher.model=a-teacher"],
    "teacher=several": [
        "+teacher@teacher.members.market=embedded",
        "teacher.route.field=domain",
    ],
    "teacher=served": ["teacher.model=a-teacher"],
    "writer=served": ["writer.model=a-student", "writer.folder=weights"],
    "reward=classifier": ["reward.name=a/model"],
    "reward=python": ["reward.function=a.module:name"],
    "writer=speculative": ["writer.draft=a/model"],
    "stream=file": ["stream.path=order.jsonl"],
}
"""What an option cannot do without."""

VERBS = {
    "metric": ("eval", "run=somewhere"),
    "prompt": ("undo",),
    "stream": ("osd",),
    "domains": ("osd",),
    "teacher=endpoint": ("undo",),
    "teacher=tutor": ("undo",),
    "experiment=undo_arithmetic": ("undo",),
    "experiment=undo_gsm8k": ("undo",),
}
"""Verb that takes a group or an option, and what it cannot do without, where that is not train."""

CHANGES = {
    "seed": ["seed=1"],
    "steps": ["steps=3"],
    "precision": ["precision=bf16"],
    "beta": ["beta=0.2"],
    "lmbda": ["lmbda=0.2"],
    "teacher": ["teacher.prompt=chat"],
    "student": ["student.dtype=bfloat16"],
    "divergence": ["divergence=tvd"],
    "objective": ["objective.chunk_mb=7"],
    "support": ["support=teacher_top_k"],
    "policy": ["policy=seq_kd"],
    "dataset": ["dataset.digits=1"],
    "dataset_pt": ["dataset@dataset_pt=text", "dataset_pt.path=text.jsonl"],
    "reward": ["reward=length"],
    "rollout": ["rollout.top_k=3"],
    "teacher_rollout": ["teacher_rollout.top_k=3"],
    "loop": ["loop.reduction=sequence_mean"],
    "optimizer": ["optimizer.lr=1"],
    "checkpoint": ["checkpoint.keep_last=3"],
    "evaluation": ["evaluation.test=3"],
}
"""A change of each top-level field that a result may depend on."""

UNDO_CHANGES = {
    "teacher": ["teacher.seed=1"],
    "imitate": ["teacher@imitate=embedded"],
    "elsewhere": ["elsewhere.digits=1"],
    "prompt": ["prompt.system=Hello."],
    "writing": ["writing.temperature=1"],
    "retries": ["retries=1"],
    "evidence": ["evidence.wrong=5"],
    "begin": ["begin=previous"],
    "lessons": ["lessons=all"],
    "iterations": ["iterations=1"],
    "patience": ["patience=2"],
    "min_gain": ["min_gain=0.1"],
    "controls": ["controls.one_shot=false"],
}
"""The same for what undo has beyond train."""


def train(*overrides: str) -> Composed:
    return compose("train", overrides)


def leave(folder: Path, composed: Composed) -> Path:
    """The run directory of a run that has just begun."""
    directory = RunDirectory(folder)
    with directory.claim(
        fingerprint=composed.fingerprint,
        config=composed.yaml(),
        overrides=composed.overrides,
        provenance={},
    ):
        return directory.path


def check_written(option: str, found: dict[str, Any], component: object) -> None:
    """A component is of its yaml's class, and has the values that are written there."""
    written = yaml.safe_load((CONF / f"{option.replace('=', '/')}.yaml").read_text())
    (schema,) = (item for item in written.pop("defaults") if "/schema/" in str(item))
    assert type(component) is SPECS[schema.removeprefix("/schema/").removesuffix("@_here_")]
    plain = {
        key: value
        for key, value in written.items()
        if "${" not in str(value) and "???" not in str(value)
    }
    assert {key: found[key] for key in plain} == plain


@pytest.mark.parametrize("option", OPTIONS)
def test_every_committed_option_composes_to_what_its_yaml_says(option: str) -> None:
    group, name = option.split("=")
    verb, *needed = VERBS.get(option) or VERBS.get(group, ("train",))
    composed = compose(verb, [*needed, option, *REQUIRED.get(option, [])])
    assert yaml.safe_load(composed.yaml()) == composed.named
    if group in {"experiment", "debug"}:
        return
    if group == "domains":
        written = yaml.safe_load((CONF / "domains" / f"{name}.yaml").read_text())["defaults"]
        named = [key.partition("@")[2] for item in written if item != "_self_" for key in item]
        assert list(composed.run.domain) == named
        return
    found, component = composed.config[group], getattr(composed.run, group)
    if group == "metric":
        found, component = found.get(name), component.get(name)
    if found is None:
        # A name for several metrics.
        assert len(composed.run.metric) > 1
        return
    check_written(option, found, component)


def test_train_takes_no_teacher_that_it_cannot_load() -> None:
    words = (
        r"^teacher=endpoint is of no use here, where teacher must be a Readable\. Choose another"
    )
    with pytest.raises(ConfigError, match=words):
        train("teacher=endpoint", "teacher.model=a-teacher")


def test_the_eval_verb_composes() -> None:
    assert compose("eval", ["run=somewhere", "limit=3"]).run.limit == 3


@pytest.mark.parametrize(("typed", "expected"), [(["beta=0.1"], 0.1), ([], 0.5)])
def test_beta_is_a_shorthand_of_the_divergences_own(typed: list[str], expected: float) -> None:
    run = train("divergence=jsd", *typed).run
    assert run.divergence.beta == expected
    assert run.objective.divergence == run.divergence


@pytest.mark.parametrize("choice", ["policy=mixed", "experiment=gkd"])
@pytest.mark.parametrize(("typed", "expected"), [(["lmbda=0"], 0), ([], 0.5)])
def test_lmbda_is_a_shorthand_of_the_policys_own(
    choice: str, typed: list[str], expected: float
) -> None:
    assert train(choice, *typed).run.policy.lmbda == expected


def test_the_teachers_texts_are_as_long_as_the_students_unless_asked() -> None:
    assert train("rollout.max_new_tokens=9").run.teacher_rollout.max_new_tokens == 9
    both = train("rollout.max_new_tokens=9", "teacher_rollout.max_new_tokens=5").run
    assert (both.rollout.max_new_tokens, both.teacher_rollout.max_new_tokens) == (9, 5)


def test_fields_can_be_set_added_and_removed() -> None:
    run = train(
        "student=qwen3",
        "+student.template.language=de",
        "~student.template.enable_thinking",
        "++steps=3",
        "loop.max_grad_norm=2",
        "~experiment",
    ).run
    assert run.student.template == {"language": "de"}
    assert run.steps == 3
    assert run.loop.max_grad_norm == 2


@pytest.mark.parametrize(
    "typed",
    [
        *("name=other", "output=elsewhere", "device=cpu", "tracker=none", "tracker.tags=[x]"),
        *("guard.stop=true", "guard.repetition=null"),
    ],
)
def test_the_fingerprint_ignores_where_and_how_a_run_is_watched(typed: str) -> None:
    assert train(typed).fingerprint == train().fingerprint


def test_every_other_top_level_field_is_in_the_fingerprint() -> None:
    chosen = ["divergence=jsd", "policy=mixed"]
    base = train(*chosen)
    # There is no second writer but a user's own.
    read = set(base.config) - {"writer"}
    assert set(CHANGES) | set(NOT_IN_FINGERPRINT) == read | {"replies"}
    found = {base.fingerprint}
    for typed in CHANGES.values():
        found.add(train(*chosen, *typed).fingerprint)
    assert len(found) == 1 + len(CHANGES)


def test_every_other_field_of_undo_is_in_its_fingerprint() -> None:
    base = compose("undo", [])
    assert set(UNDO_CHANGES) | (set(CHANGES) - {"teacher"}) | set(NOT_IN_FINGERPRINT) == {
        *(name for name in base.config if name != "writer"),
        *("control", "placement"),
    }
    found = {base.fingerprint}
    for typed in UNDO_CHANGES.values():
        found.add(compose("undo", typed).fingerprint)
    assert len(found) == 1 + len(UNDO_CHANGES)
    assert compose("undo", ["replies=elsewhere.sqlite"]).fingerprint == base.fingerprint


def test_the_fingerprint_tells_components_without_fields_apart() -> None:
    same = [train(f"policy={name}") for name in ("on_policy", "off_policy", "seq_kd")]
    assert len({str(composed.config) for composed in same}) == 1
    assert len({composed.fingerprint for composed in same}) == 3
    kl = [train(f"divergence={name}").fingerprint for name in ("forward_kl", "reverse_kl")]
    assert len(set(kl)) == 2


def test_the_fingerprint_tells_components_by_name_apart_and_their_order() -> None:
    pinned = ["dataset=mixed", "+dataset@dataset.parts.other=maze"]
    found = {
        train(*typed, *(["dataset.parts.one.revision=main"])).fingerprint
        for typed in (
            [*pinned, "+dataset@dataset.parts.one=strategyqa"],
            [*pinned, "+dataset@dataset.parts.one=commonsenseqa"],
            [pinned[0], "+dataset@dataset.parts.one=strategyqa", pinned[1]],
        )
    }
    assert len(found) == 3


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["divergence=jsd", "beta=0.1", "steps=7"],
        ["experiment=gkd", "lmbda=0.3", "debug=smoke"],
        ["experiment=seqkd", "student=qwen3", "+student.template.language=de"],
        ["dataset=jsonl", "dataset.path='a folder/rows.jsonl'", 'name="it\'s é"'],
        [
            "dataset=mixed",
            "+dataset@dataset.parts.one=journey",
            "+dataset@dataset.parts.other=mixed",
            "+dataset@dataset.parts.other.parts.maze=maze",
            "teacher=several",
            "+teacher@teacher.members.market=embedded",
            "+teacher@teacher.members.journey=qwen3",
            "teacher.route.field=part",
            "+teacher.route.members.one=journey",
        ],
        [
            "dataset@dataset_pt=mixed",
            "+dataset@dataset_pt.parts.one=text",
            "dataset_pt.parts.one.path=text.jsonl",
        ],
    ],
)
def test_a_run_directory_gives_the_same_run_again(overrides: list[str], tmp_path: Path) -> None:
    composed = train(*overrides)
    again = reopen(leave(tmp_path / "run", composed))
    assert again.run == composed.run
    assert again.fingerprint == composed.fingerprint


def test_a_run_directory_keeps_its_values_when_defaults_change(tmp_path: Path) -> None:
    folder = leave(tmp_path / "run", train("policy=mixed", "policy.lmbda=0.4"))
    (folder / "overrides.yaml").write_text('["policy=mixed"]')
    # As earlier versions left it: without digests of these files.
    record = json.loads((folder / "provenance.json").read_text())
    del record["files"]
    (folder / "provenance.json").write_text(json.dumps(record))
    assert reopen(folder).run.policy.lmbda == 0.4


def own_folder(place: Path) -> Path:
    """A folder of the user's own: a divergence preset and an experiment that uses it."""
    for name, text in {
        "divergence/mine.yaml": "defaults: [/schema/divergence/jsd@_here_, _self_]\nbeta: 0.3\n",
        "experiment/mine.yaml": "# @package _global_\n"
        "defaults: [{override /divergence: mine}, {override /policy: mixed}]\nsteps: 7\n",
    }.items():
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(
    ("overrides", "steps"), [(["divergence=mine"], 250), (["experiment=mine"], 7)]
)
def test_a_users_own_yaml_is_found_and_found_again(
    overrides: Sequence[str], steps: int, tmp_path: Path
) -> None:
    folder = own_folder(tmp_path / "my (own) conf")
    composed = compose("train", overrides, config_dir=folder)
    assert composed.run.divergence.beta == 0.3
    assert composed.run.steps == steps
    assert reopen(leave(tmp_path / "run", composed)).run == composed.run


def test_no_secret_of_the_environment_is_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WANDB_API_KEY", "HF_TOKEN", "WANDB_RUN_GROUP"):
        monkeypatch.setenv(name, "sekret")
    assert "sekret" not in train().yaml()
