"""The folder of an adapter, as peft writes it, and the whole model that it stands for."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open

from distillkit.core.errors import ModelError
from distillkit.models.adapters import CONFIG, NAME, WEIGHTS, Adapters, needed, quietly
from distillkit.models.pretrained import LARGEST_RANK, Pretrained

READ: dict[str, type | tuple[type, ...]] = {
    "r": int,
    "lora_alpha": (int, float),
    "target_modules": list,
    "lora_dropout": (int, float),
    "use_dora": bool,
    "use_rslora": bool,
    "fan_in_fan_out": bool,
}
"""Fields that say what an adapter computes, and what each holds."""
TOLD = (
    *("base_model_name_or_path", "revision", "task_type", "peft_type", "peft_version"),
    *("inference_mode", "auto_mapping", "megatron_core"),
)
"""Fields that say something else of it."""


def through_adapter(
    source: Pretrained,
    read: Callable[[Pretrained, str], tuple[Any, Any]],
    *,
    side: str,
    location: str,
) -> tuple[Any, Any]:
    """Model and tokenizer; of an adapter's folder, the model below with what the adapter learned.

    Args:
        source: what the user asked for.
        read: reads a whole model of a side.
        side: ``student`` or ``teacher``.
        location: what is read for the name of the source.

    Raises:
        ConfigError: peft is missing.
        ModelError: the model, or the adapter, cannot be read.
    """
    name = f"{side}.name={source.name}"
    base = base_of(source, name=name, location=location)
    if base is None:
        return read(source, side)
    try:
        module, tokenizer = read(base, side)
    except ModelError as error:
        raise ModelError(f"{name} holds an adapter, and of its base is said: {error}") from error
    if any(hasattr(each, "full_tensor") for each in module.parameters()):
        raise ModelError(
            f"{name} holds an adapter, which placement=sharded cannot merge into parts of weights. "
            "Use placement=replicas, or a folder into which it has been merged."
        )
    merge_into(module, name=name, location=location)
    return module, tokenizer


def base_of(source: Pretrained, *, name: str, location: str) -> Pretrained | None:
    """The model that a folder's adapter belongs to; None where the folder holds a whole model.

    Code of its repository is not run: whoever trusts a folder trusts no other that it names.

    Raises:
        ModelError: the adapter is damaged, or is none of ours to read.
    """
    folder, ours = Path(location), False
    # A path that no file can have is told of where whole models are.
    with suppress(OSError):
        ours = (folder / CONFIG).is_file() and not (folder / "config.json").is_file()
    if not ours:
        return None
    said = _said(name, folder)
    base, revision = said.get("base_model_name_or_path"), said.get("revision")
    if not isinstance(base, str) or not isinstance(revision, str | None):
        raise _unread(name, f"{CONFIG} names no base")
    if said.get("peft_type") != "LORA":
        raise _unread(name, "it is of another kind than LoRA")
    if not (folder / WEIGHTS).is_file():
        raise _unread(name, f"it lacks {WEIGHTS}")
    return replace(source, name=base, revision=revision, trust_remote_code=False)


def merge_into(module: Any, *, name: str, location: str) -> None:
    """Put a folder's adapter into the weights of its base, for good.

    Raises:
        ConfigError: peft is missing.
        ModelError: the adapter does not fit, or computes what is not known here.
    """
    peft = needed(name)
    config = _config(peft, name, _said(name, Path(location)))
    try:
        with quietly():
            tuned = peft.PeftModel.from_pretrained(
                module, location, adapter_name=NAME, config=config
            )
        adapters = Adapters(tuned)
        with safe_open(Path(location) / WEIGHTS, framework="pt") as opened:
            other = adapters.state().keys() ^ set(opened.keys())
        if other:
            # Of weights that it lacks, peft would leave those it drew.
            raise ValueError(f"{min(other)} is in one of them alone")
        adapters.settle()
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise _unread(name, f"it does not fit its base ({first})") from error
    # It is no longer the model of that commit.
    module.config._commit_hash = None


def _config(peft: Any, name: str, said: dict[str, Any]) -> Any:
    """Of the known fields alone: others import modules by name, or change the base."""
    usual = peft.LoraConfig().to_dict()
    for field, value in said.items():
        if field not in READ and field not in TOLD and value and value != usual.get(field):
            raise _unread(name, f"{field} of {CONFIG} is none of the fields that are known here")
    given = {field: said[field] for field in READ if field in said}
    right = all(isinstance(value, READ[field]) for field, value in given.items())
    targets = given.get("target_modules", ())
    if not right or not targets or not all(isinstance(each, str) for each in targets):
        raise _unread(name, f"{CONFIG} is damaged, or its target_modules are no list of names")
    if not 1 <= given.get("r", 0) <= LARGEST_RANK:
        raise _unread(name, f"r of {CONFIG} must lie between 1 and {LARGEST_RANK}")
    try:
        return peft.LoraConfig(task_type="CAUSAL_LM", **given)
    except (ValueError, TypeError) as error:
        raise _unread(name, f"{CONFIG} is damaged") from error


def _said(name: str, folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _unread(name, f"{CONFIG} is damaged") from error
    if not isinstance(said, dict):
        raise _unread(name, f"{CONFIG} is damaged")
    return said


def _unread(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} is a folder of an adapter that cannot be read: {why}. Merge it into its base with "
        "merge_and_unload of peft, save that with save_pretrained, and give its folder."
    )
