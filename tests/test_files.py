"""Files that are either whole or absent."""

from pathlib import Path

import pytest

from distillkit.core.files import new_file


def test_a_file_whose_writing_fails_leaves_the_older_one_alone(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_text("older")
    with pytest.raises(TypeError), new_file(file) as partial:
        partial.open("w").write(b"not text")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"picture.png": "older"}


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    with new_file(file) as partial:
        partial.write_text("whole")
        assert not file.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    assert file.read_text() == "whole"
