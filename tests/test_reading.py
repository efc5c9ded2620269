"""The one reader: whatever a file holds, it gives what was written, or says one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from distillkit.core.errors import RunError
from distillkit.core.reading import read_json, read_json_lines, read_text, read_with, read_yaml
from distillkit.core.sealed import check_digests, digests_of, read_sealed, write_sealed
from distillkit.core.shapes import Baselines
from tests.damage import KINDS

WAY_OUT = "Do something."
OBJECT = {"student_before": {"accuracy": 0.5}, "teacher": {}}


def moments(file: Path) -> Any:
    return torch.load(file, weights_only=True)


READERS = {
    "x.json": lambda file: read_json(file, Baselines, way_out=WAY_OUT),
    "x.jsonl": lambda file: read_json_lines(file, Baselines, way_out=WAY_OUT),
    "x.yaml": lambda file: read_yaml(file, Baselines, way_out=WAY_OUT),
    "x.txt": lambda file: read_text(file, way_out=WAY_OUT),
    "x.safetensors": lambda file: read_with(load_file, file, way_out=WAY_OUT),
    "x.pt": lambda file: read_with(moments, file, way_out=WAY_OUT),
}


def complaint(read: Callable[[], object]) -> str:
    """What the reader says against a file; nothing where it reads it."""
    try:
        read()
    except RunError as error:
        return str(error)
    return ""


def written(folder: Path, name: str) -> Path:
    file = folder / name
    if name == "x.safetensors":
        save_file({"a": torch.arange(8.0)}, file)
    elif name == "x.pt":
        torch.save({"a": torch.arange(8.0)}, file)
    else:
        file.write_text(json.dumps(OBJECT) + "\n")
    return file


@pytest.mark.parametrize("kind", [name for name, _ in KINDS])
@pytest.mark.parametrize("name", READERS)
def test_whatever_a_file_holds_is_read_or_refused_in_one_sentence(
    name: str, kind: str, tmp_path: Path
) -> None:
    file = written(tmp_path, name)
    file.write_bytes(dict(KINDS)[kind](file.read_bytes()))
    said = complaint(lambda: READERS[name](file))
    if said:
        assert str(file) in said
        assert said.endswith(WAY_OUT)
        assert "\n" not in said


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for place in ("folder", "nowhere", "missing"):
        with pytest.raises(RunError, match=rf"{place} is .*Do something\."):
            READERS[name](tmp_path / place)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{}", "student_before: Field required"),
        ('{"student_before": [], "teacher": {}}', "student_before"),
        ('{"student_before": {"accuracy": "0.5"}, "teacher": {}}', "student_before.accuracy"),
        ('{"student_before": {"accuracy": true}, "teacher": {}}', "student_before.accuracy"),
        ('{"student_before": {}, "teacher": null}', "teacher"),
    ],
)
def test_another_shape_is_refused_where_it_differs(text: str, where: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(RunError, match=where):
        read_json(file, Baselines, way_out=WAY_OUT)


def test_a_yaml_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    file.write_text("\n".join(lines))
    with pytest.raises(RunError, match="more than a million values"):
        read_yaml(file, dict[str, Any], way_out=WAY_OUT)


def test_a_yaml_runs_no_code(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("!!python/object/apply:os.mkdir ['made']")
    with pytest.raises(RunError, match="is damaged"):
        read_yaml(file, dict[str, Any], way_out=WAY_OUT)


@pytest.mark.parametrize("kind", [name for name, _ in KINDS])
def test_a_sealed_object_is_what_was_written_or_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    value = {**OBJECT, "number": 0.1 + 0.2, "none": None, "text": "ü", "1": [1, 2.0]}
    write_sealed(file, value)
    assert read_sealed(file, Baselines, old=False, way_out=WAY_OUT) == value
    file.write_bytes(dict(KINDS)[kind](file.read_bytes()))
    found: list[object] = []
    said = complaint(lambda: found.append(read_sealed(file, Baselines, old=False, way_out=WAY_OUT)))
    assert str(file) in said or found == [value]


def test_an_object_without_a_seal_is_taken_for_an_earlier_versions_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(OBJECT))
    assert read_sealed(file, Baselines, old=True, way_out=WAY_OUT) == OBJECT
    with pytest.raises(RunError, match="has no seal"):
        read_sealed(file, Baselines, old=False, way_out=WAY_OUT)


def test_a_folder_is_what_was_written_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    (folder / "deep").mkdir(parents=True)
    for name in ("config.json", "deep/weights"):
        (folder / name).write_text(name)
    recorded = digests_of(tmp_path, ["student"])
    assert set(recorded) == {"student/config.json", "student/deep/weights"}

    def check() -> None:
        check_digests(tmp_path, recorded, names=["student"], way_out=WAY_OUT)

    check()
    (folder / "evil.py").symlink_to(tmp_path / "gone")
    with pytest.raises(RunError, match=r"student/evil\.py was not there"):
        check()
    (folder / "evil.py").unlink()
    (folder / "config.json").write_text("other")
    with pytest.raises(RunError, match=r"student/config\.json has changed"):
        check()
    (folder / "config.json").unlink()
    with pytest.raises(RunError, match=r"student/config\.json is missing"):
        check()
