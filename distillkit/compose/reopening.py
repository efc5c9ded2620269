"""The run of a run directory, from what its run.yaml says."""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from distillkit.compose.composing import Composed, composed_by_hydra, from_config
from distillkit.compose.environment import reading_environment
from distillkit.compose.options import choices, without_options
from distillkit.compose.plain_yaml import read_plain, read_texts
from distillkit.compose.trust import leaves
from distillkit.compose.wording import one_sentence
from distillkit.core.errors import ConfigError, RunError
from distillkit.core.fingerprint import fingerprint_of
from distillkit.core.reading import read_bytes, read_json
from distillkit.core.spec import discover
from distillkit.run import TrainRun

RECORD, VALUES, OVERRIDES = "provenance.json", "run.yaml", "overrides.yaml"

SEARCHED = re.compile(r'hydra\.searchpath=\["file://(.+)"\]')
"""How earlier versions noted the user's own folder among the overrides."""


def reopen(folder: Path, *, trusted: bool = False) -> Composed:
    """The run of a run directory.

    Args:
        folder: what ``distillkit train`` printed.
        trusted: whether code of its models' repositories may be run, as its training was allowed.

    Raises:
        RunError: the folder is no run directory, it is damaged, it has changed since it was
            written, or it needs what was not given.
    """
    way_out = f"run={folder} must be the folder that distillkit train printed."
    if not folder.is_dir():
        raise RunError(
            f"run={folder} is not a run directory. Give the one that distillkit train printed."
        )
    for name in (RECORD, VALUES, OVERRIDES):
        if not (folder / name).is_file():
            raise RunError(
                f"run={folder} is not a run directory ({name} is missing). Give the folder that "
                "distillkit train printed."
            )
    record = read_json(folder / RECORD, dict[str, Any], way_out=way_out)
    digests = record.get("files")
    if isinstance(digests, dict):
        _check_digests(folder, digests)
    try:
        _, values = read_plain(folder / VALUES, loader=yaml.SafeLoader)
        overrides = read_texts(folder / OVERRIDES)
    except ConfigError as error:
        raise RunError(
            f"run={folder} is damaged: {error} Run it again under another name."
        ) from error
    if "iterations" in values:
        raise RunError(
            f"run={folder} is a run of undo-iterate. Give one of its trainings, as in "
            f"run={folder}/train/iteration-0."
        )
    if "proposals" in values:
        raise RunError(
            f"run={folder} is a run of osd or serve, which measure what they do themselves. Give a "
            f"training; a draft can begin one, as in student.name={folder}/student."
        )
    _check_trust(folder, values, trusted=trusted)
    composed = _composed(folder, values, overrides)
    if not isinstance(digests, dict) and not _is_of(record.get("fingerprint"), composed, values):
        raise _changed(folder, VALUES)
    return composed


def recompose(overrides: Sequence[str], values: Any, *, config_dir: Path | None = None) -> Composed:
    """The training of overrides that choose the groups, with all values laid over."""
    with one_sentence(overrides), reading_environment(()):
        config, _ = composed_by_hydra("train", overrides, config_dir)
        # Fields stay closed; it is dictionaries of any keys that open.
        OmegaConf.set_struct(config, False)
        config.merge_with(values)
        return from_config(config, overrides)


def _composed(folder: Path, values: dict[str, Any], overrides: Sequence[str]) -> Composed:
    """By the options that run.yaml names, or by the overrides where it is of an earlier version."""
    try:
        discover()
        chosen = choices(values)
        if chosen is not None:
            plain = without_options(values, TrainRun)
            composed = recompose(chosen, plain)
            return Composed(composed.run, composed.config, list(overrides), composed.fingerprint)
        places = [Path(found[1]) for item in overrides if (found := SEARCHED.fullmatch(item))]
        typed = [item for item in overrides if not re.match(r"[+~]*hydra\W", item)]
        return recompose(typed, values, config_dir=places[0] if places else None)
    except (ConfigError, RunError) as error:
        raise RunError(f"run={folder} cannot be composed: {error}") from error


def _is_of(fingerprint: Any, composed: Composed, values: dict[str, Any]) -> bool:
    """Whether run.yaml is what was fingerprinted; later versions may have added fields to it."""
    return fingerprint_of(composed.run, without_options(values, TrainRun)) == fingerprint


def _check_digests(folder: Path, digests: dict[str, Any]) -> None:
    for name in (VALUES, OVERRIDES):
        content = read_bytes(folder / name, way_out="Run it again under another name.")
        if name in digests and sha256(content).hexdigest() != digests[name]:
            raise _changed(folder, name)


def _changed(folder: Path, name: str) -> RunError:
    return RunError(
        f"run={folder}: {name} has changed since the run was made, so it says what the student is "
        "not. Put back what was there, or run it again under another name."
    )


def _check_trust(folder: Path, values: dict[str, Any], *, trusted: bool) -> None:
    for field, value in leaves(values, ""):
        if field.rpartition(".")[2] == "trust_remote_code" and value and not trusted:
            raise RunError(
                f"run={folder} was trained with {field}=true, which runs code that a model's "
                "repository brings. If you trust it, add trust_remote_code=true."
            )
