"""The digest of a model covers all that it computes with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from distillkit.models.identity import digest_of
from distillkit.models.loading import load
from distillkit.models.pretrained import Student
from tests.tiny import CPU, save


def digest(folder: Path) -> str:
    return digest_of(load(Student(name=str(folder)), device=CPU, precision="fp32").module)


def edited(name: str, **fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))

    return change


def test_a_copy_elsewhere_has_the_same_digest(tmp_path: Path) -> None:
    assert digest(save(tmp_path / "a")) == digest(save(tmp_path / "b"))


@pytest.mark.parametrize(
    "change",
    [
        edited("config.json", rms_norm_eps=1e-3),
        edited("config.json", rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
        edited("config.json", hidden_act="gelu"),
        edited("generation_config.json", eos_token_id=[1, 7]),
    ],
)
def test_a_changed_setting_changes_it(change: Callable[[Path], None], tmp_path: Path) -> None:
    before = digest(save(tmp_path))
    change(tmp_path)
    assert digest(tmp_path) != before


def test_a_folders_own_word_for_a_hub_commit_is_none(tmp_path: Path) -> None:
    edited("config.json", _commit_hash="a" * 40)(save(tmp_path))
    first = digest(tmp_path)
    save(tmp_path, seed=1)
    edited("config.json", _commit_hash="a" * 40)(tmp_path)
    assert digest(tmp_path) != first


def test_a_buffer_that_is_never_saved_counts(tmp_path: Path) -> None:
    module = load(Student(name=str(save(tmp_path))), device=CPU, precision="fp32").module
    hidden = [name for name, _ in module.named_buffers() if name not in module.state_dict()]
    assert hidden
    before = digest_of(module)
    with torch.no_grad():
        module.get_buffer(hidden[0]).mul_(1.5)
    assert digest_of(module) != before
