"""What stands where a model's folder or its weights should, and the way out."""

import re
from pathlib import Path

MADE = re.compile(r"outputs/models/smollm2_135m(_cut_\d+)?/?")
"""Folders of the presets that ``make smollm`` makes."""


def instead_of_folder(name: str, path: Path) -> str:
    """What stands where a model's folder should, and the way out."""
    if MADE.fullmatch(name):
        return (
            "there is no such folder here. Run `make smollm` in the checkout of distillkit, which "
            "makes it from a package of 93 MB, and start from there."
        )
    if path.exists():
        return "this is a file. Give the folder that save_pretrained wrote."
    return (
        "there is no such folder. Give one written by save_pretrained, or a hub name such as "
        "Qwen/Qwen2.5-0.5B-Instruct."
    )


def instead_of_weights(folder: Path) -> str:
    """What stands where safetensors weights should, and the way out."""
    if [*folder.glob("*.bin")] or [*folder.glob("*.pt")] or [*folder.glob("*.pth")]:
        return (
            "holds pickled weights (.bin) only, which may run code when they are read. Where you "
            "trust them, load them with transformers and write the folder again with "
            "save_pretrained, which writes safetensors."
        )
    if [*folder.glob("*.gguf")]:
        return (
            "holds GGUF weights only. Load them with from_pretrained(folder, gguf_file=...) of "
            "transformers, take quantization_config out of the configuration, and write the folder "
            "again with save_pretrained."
        )
    return "holds no weights (*.safetensors). Copy or download them again."
