"""Whether a student can be written down, tried before it has learned anything."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import GenerationConfig

from distillkit.core.errors import ModelError

IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Generation settings that belong to the model and not to somebody's taste."""
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
"""Settings that mean nothing to a greedy choice."""
FIELD = re.compile(r"^- `(\w+)`", re.MULTILINE)
"""How transformers lists what it refuses."""


def rehearse(module: Any, tokenizer: Any, source: str) -> list[str]:
    """Write everything but the weights into a folder that goes at once.

    Generation settings that transformers would not write are mended: sampling fields without
    ``do_sample`` get it, and what is beyond that is left out.

    Args:
        module: a transformers model; its generation settings may be changed.
        tokenizer: its tokenizer.
        source: ``student.name=...``.

    Returns:
        What was mended, for the user.

    Raises:
        ModelError: model or tokenizer could not be saved.
    """
    notes = _mend(module, source)
    try:
        with TemporaryDirectory() as folder:
            module.save_pretrained(folder, state_dict={})
            tokenizer.save_pretrained(Path(folder))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{source} could not be saved when it has learned ({type(error).__name__}: {first}). "
            "Write the folder again with save_pretrained, unquantised, or choose another student."
        ) from error
    return notes


def _mend(module: Any, source: str) -> list[str]:
    settings = getattr(module, "generation_config", None)
    if settings is None or not (refused := _refused(settings)):
        return []
    settings.do_sample = True
    what = f"{source}: transformers would not write {' and '.join(refused)} of generation_config."
    if not _refused(settings) and all(_is_sensible(settings, name) for name in SAMPLING):
        return [f"{what}json without do_sample, so the student is saved with do_sample=true"]
    ids = {name: getattr(settings, name, None) for name in IDS}
    kept = {name: value for name, value in ids.items() if value is not None and value != -1}
    module.generation_config = GenerationConfig(**kept)
    return [f"{what}json, so the student is saved with the ids of its special tokens alone"]


def _refused(settings: Any) -> list[str]:
    """Fields that transformers would not write once the settings are changed."""
    try:
        settings.validate(strict=True)
    except Exception as error:
        return FIELD.findall(str(error)) or ["a field"]
    return []


def _is_sensible(settings: Any, name: str) -> bool:
    value = getattr(settings, name, None)
    return value is None or (isinstance(value, int | float) and value >= 0)
