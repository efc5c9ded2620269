"""Where a result came from: code, packages, machine."""

import platform
import re
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from distillkit import __version__

PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "hydra-core", "omegaconf", "wandb")


def provenance() -> dict[str, Any]:
    """Versions, machine, and the state of the git checkout one is standing in, if any."""
    return {
        "distillkit": __version__,
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "git": {"commit": _git("rev-parse", "HEAD"), "diff": _diff()},
    }


def processor() -> str:
    """As the system names it."""
    file = Path("/proc/cpuinfo")
    said = file.read_text() if file.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", said, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()


def _diff() -> dict[str, Any] | None:
    """What tells one diff from another, without its words: tracked files may hold keys.

    None outside a checkout.
    """
    text = _git("diff", "HEAD")
    if text is None:
        return None
    names = _git("diff", "--name-only", "HEAD") or ""
    return {"sha256": sha256(text.encode()).hexdigest(), "files": names.splitlines()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
