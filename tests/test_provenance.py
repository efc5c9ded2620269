"""What a run keeps of the checkout it was started in: enough to compare, no word of it."""

import subprocess
from pathlib import Path

import pytest

from distillkit.core.provenance import provenance


def git(*arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        check=True,
        capture_output=True,
    )


def test_a_secret_of_a_tracked_file_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys.env").write_text("KEY=\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = provenance()["git"]["diff"]
    (tmp_path / "keys.env").write_text("KEY=sk-secret\n")
    dirty = provenance()["git"]["diff"]
    assert "sk-secret" not in str(dirty)
    assert dirty["files"] == ["keys.env"]
    assert dirty["sha256"] != clean["sha256"]
    (tmp_path / "keys.env").write_bytes(b"KEY=\xff\xfe\n")
    assert provenance()["git"]["diff"]["sha256"] not in (dirty["sha256"], clean["sha256"])


def test_outside_a_checkout_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert provenance()["git"] == {"commit": None, "diff": None}
