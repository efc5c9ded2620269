"""What stands where a model's folder or its weights should, and the way out."""

import re
from pathlib import Path

MADE = {
    re.compile(r"outputs/models/smollm2_135m(_cut_\d+)?/?"): ("make smollm", "of 93 MB"),
    re.compile(r"outputs/models/gemma3_270m/?"): ("make gemma", "in parts of 238 MB together"),
}
"""Folders that a target of the Makefile makes, which, and from how large a package."""


def instead_of_folder(name: str, path: Path) -> str:
    """What stands where a model's folder should, and the way out."""
    made = next((how for folder, how in MADE.items() if folder.fullmatch(name)), None)
    if made is not None:
        target, size = made
        return (
            f"there is no such folder here. Run `{target}` in the checkout of distillkit, which "
            f"makes it from a package {size}, and start from there."
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
