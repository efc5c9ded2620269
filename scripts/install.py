"""Install packages into the environment whose Python runs this, as constraints.txt pins them.

    .venv/bin/python scripts/install.py --editable '.[dev]'

Torch comes by pip, so that a machine whose pip is set to a certain build of torch keeps that build;
uv brings the rest, and is told the torch that is there. Where uv is not to be had, pip does it all.
uv does not read pip's settings: they are translated. Made for `make`; the standard library alone.
"""

import os
import subprocess
import sys
import sysconfig
from ast import literal_eval
from importlib.metadata import version
from pathlib import Path

LOCK = str(Path(__file__).resolve().parents[1] / "constraints.txt")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
PIP_INSTALL = [*PIP, "install", "--quiet", "--no-compile", "--constraint", LOCK]

UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
"""pip's settings, and the variables by which uv takes the same, for an argument is no secret."""


def pip_settings() -> dict[str, str]:
    """What pip's files and variables set for an installation, the stronger over the weaker."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True)
    settings: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.stdout.splitlines():
        place, _, value = line.partition("=")
        section, _, name = place.rpartition(".")
        if section in settings:
            settings[section][name] = literal_eval(value)
    return settings["global"] | settings["install"] | settings[":env:"]


def uv_environment(pip: dict[str, str]) -> dict[str, str]:
    """Variables that give uv pip's settings; what is set for uv itself goes before them."""
    given = {}
    for name, variable in UV_NAMES.items():
        if values := pip.get(name, "").split():
            given[variable] = ("," if name == "find-links" else " ").join(values)
    if "UV_INDEX" in given:
        # As pip does: the pinned version from whichever index has it.
        given["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return given | dict(os.environ)


def uv_arguments(pip: dict[str, str]) -> list[str]:
    """Arguments that give uv the settings of pip for which it has no variable."""
    limits = [
        part for each in pip.get("constraint", "").split() for part in ("--constraints", each)
    ]
    no_index = pip.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return [*limits, *(["--no-index"] if no_index else [])]


def install_by_uv(wanted: list[str]) -> None:
    """Install what is wanted, and no other torch than the one there is."""
    subprocess.run([*PIP_INSTALL, "uv"], capture_output=True, text=True, check=True)
    pip = pip_settings()
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    pinned = ["--constraints", LOCK, "--build-constraints", LOCK, f"torch=={version('torch')}"]
    subprocess.run(
        [*uv, *uv_arguments(pip), *pinned, *wanted],
        env=uv_environment(pip),
        capture_output=True,
        text=True,
        check=True,
    )


def install(wanted: list[str]) -> None:
    """Install torch, then what is wanted (arguments that pip and uv spell alike)."""
    subprocess.run([*PIP_INSTALL, "torch"], check=True)
    try:
        install_by_uv(wanted)
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip() or f"exit code {error.returncode}").splitlines()[-1].strip()
        print(
            f"uv cannot be used here ({why}): pip installs, some minutes slower.", file=sys.stderr
        )
        subprocess.run([*PIP_INSTALL, *wanted], check=True)
    # Else what is imported compiles itself the first time, and the most of it never is.
    if sys.dont_write_bytecode:
        compile_all()


def compile_all() -> None:
    """Compile what was installed, by all cores, where Python would not keep what it compiles."""
    folder = sysconfig.get_path("purelib")
    # Its exit code says that some package holds a file which is no Python, as some do.
    subprocess.run([sys.executable, "-m", "compileall", "-qq", "-j", "0", folder], check=False)


if __name__ == "__main__":
    try:
        install(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
