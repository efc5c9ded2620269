"""The set-up: its lock, what each target needs, pip's settings for uv, and pip where uv is not."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NOTING_UV = """
import json, os, sys
with open(os.environ["NOTES"], "w") as notes:
    json.dump({"arguments": sys.argv[1:], "environment": dict(os.environ)}, notes)
sys.exit(os.environ["UV_ENDS"] or None)
"""
"""A uv that writes down what it was told, and fails where it is to."""


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(each.name): each for each in found}


def test_the_lock_pins_one_version_of_everything_that_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *(each for extra in extras for each in extra)]
    asked = [Requirement(each) for each in (*wanted, *project["build-system"]["requires"])]
    locked = pins()
    assert all(re.fullmatch("==[^*,]+", str(pin.specifier)) for pin in locked.values())
    versions = {name: str(pin.specifier)[2:] for name, pin in locked.items()}
    lacking = [
        str(each)
        for each in asked
        if versions.get(canonicalize_name(each.name)) not in each.specifier
    ]
    assert lacking == []
    assert {"uv", "setuptools"} <= set(locked)


def steps(target: str) -> list[str]:
    """What make would run for a target in a fresh checkout, nothing of it done."""
    places = [f"--directory={ROOT}", "VENV=nowhere", "BIN=made"]
    made = subprocess.run(
        ["make", "--dry-run", *places, target], capture_output=True, text=True, check=True
    )
    return [line for line in made.stdout.splitlines() if "install" in line]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_training_installs_the_core_alone_and_tests_the_rest_after_it() -> None:
    extras = "dev,sweep,harness,judge,serve,study,adapter,smollm"
    core = ["made/python scripts/install.py --editable ."]
    rest = [
        *core,
        f"made/python scripts/install.py --editable '.[{extras}]'",
    ]
    assert steps("train") == steps("undo") == core
    assert steps("test") == steps("check") == steps("fuzz") == steps("smoke") == rest


def wheel(folder: Path, name: str, version: str, main: str = "") -> None:
    """A package of nothing, or of a program."""
    with ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{name}/__main__.py", main)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", metadata)
        kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", kind)
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the installer with a lock of three, their wheels, and a fresh environment."""
    place = tmp_path_factory.mktemp("bare")
    for folder in ("scripts", "wheels", "uv"):
        (place / folder).mkdir()
    shutil.copy(ROOT / "scripts" / "install.py", place / "scripts")
    (place / "constraints.txt").write_text("small==2.0\ntorch==1.5\nuv==0.1\n")
    for name, version in (("torch", "1.5+local"), ("small", "2.0"), ("small", "3.0")):
        wheel(place / "wheels", name, version)
    wheel(place / "uv", "uv", "0.1", NOTING_UV)
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    return place


def install(place: Path, found_in: str, **environment: str) -> str:
    """What an installation of ``small`` says on stderr."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PIP_", "UV_", "SSL_"))
    }
    python = str(place / "venv" / "bin" / "python")
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": found_in}
    notes = {"NOTES": str(place / "notes"), "UV_ENDS": ""}
    done = subprocess.run(
        [python, place / "scripts" / "install.py", "small"],
        env={**kept, **settings, **notes, **environment},
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def held(place: Path) -> dict[str, str]:
    """What the environment holds."""
    (packages,) = (place / "venv").glob("lib/python*/site-packages")
    return {each.name: each.version for each in distributions(path=[str(packages)])}


def test_pip_installs_where_there_is_no_uv_and_uv_is_told_pips_settings(bare: Path) -> None:
    said = install(bare, "wheels")
    assert said.count("\n") == 1
    assert said.startswith("uv cannot be used here (")
    assert "pip installs" in said
    assert (held(bare)["torch"], held(bare)["small"]) == ("1.5+local", "2.0")

    own = bare / "pip.conf"
    own.write_text(
        "[global]\ncert = /certs.pem\nextra-index-url = https://a/simple\n  https://b/simple\n"
        "trusted-host = a\n[install]\nindex-url = https://me:key@c/simple\nconstraint = caps.txt\n"
    )
    (bare / "caps.txt").write_text("small<3\n")
    config = {"PIP_CONFIG_FILE": str(own), "PIP_CERT": "/mine.pem", "UV_HTTP_TIMEOUT": "7"}
    said = install(bare, "wheels uv", **config, PIP_DEFAULT_TIMEOUT="180")
    notes = json.loads((bare / "notes").read_text())
    assert said == ""
    assert {
        "UV_DEFAULT_INDEX": "https://me:key@c/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "wheels,uv",
        "UV_INSECURE_HOST": "a",
        "SSL_CERT_FILE": "/mine.pem",
        "UV_HTTP_TIMEOUT": "7",
    }.items() <= notes["environment"].items()
    lock = str(bare / "constraints.txt")
    arguments = " ".join(notes["arguments"])
    assert arguments.startswith("pip install ")
    assert "key" not in arguments
    limits = ("--constraints caps.txt", f"--constraints {lock}", f"--build-constraints {lock}")
    assert all(part in arguments for part in ("--no-index", *limits, "torch==1.5+local"))

    said = install(bare, "wheels uv", UV_ENDS="no\nspace left")
    assert said == "uv cannot be used here (space left): pip installs, some minutes slower.\n"
