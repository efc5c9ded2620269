"""A model's folder, looked at before anything is built from it.

What it says must have the right shape, its weights must be in a format that holds no code, and the
sizes that its configuration names must be those of its weights: a typing error in one number would
otherwise build a model of any size.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from distillkit.core.errors import DistillkitError, ModelError
from distillkit.core.memory import available
from distillkit.models.instead import instead_of_folder, instead_of_weights

OBJECTS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    *("special_tokens_map.json", "added_tokens.json", "model.safetensors.index.json"),
)
"""Files that hold fields."""
SIZE = re.compile(
    r"(^|_)(size|dims?|width|layers?|heads?|experts|rank|embd|inner|model|ff|groups)$"
)
"""Names of fields that say how large something is; every such number is that of some weights."""
NO_SIZE = re.compile(r"window|chunk|block|feature")
"""Fields of such names that say how far or where something looks."""
LAYERS = re.compile(r"(^|_)layers?$")
"""Fields that count layers."""
NEEDED = re.compile(r"^(num_hidden_layers|n_layer|hidden_size|n_embd|num_attention_heads|n_head)$")
"""Fields that no model has 0 of."""
SHALLOW = 256
"""Layers that cost nothing to count, though the weights have fewer."""
NUMBERED = re.compile(r"(.*?)\.(\d+)\.")
"""A weight's name up to the number of its layer."""
DEEPEST = 10_000
"""Layers of a model whose weights are not here to be counted."""
PACKED = 16
"""Weights that a number of a quantised file may hold."""
PATH = re.compile(r"[./~]|[^/]+/[^/]*/")
"""How a name begins that is no hub's: as a path, or as more than an owner and a model."""


@contextmanager
def one_sentence(field: str, name: str) -> Iterator[None]:
    """What goes wrong when a model is read as one sentence about the field that named it.

    Inside is the code of others, which fails in every way upon a file that it did not write.
    """
    try:
        yield
    except DistillkitError:
        raise
    except Exception as error:
        if type(error).__name__ == "SafetensorError":
            raise ModelError(
                f"{field}={name} holds damaged weights ({_short(error)}). Copy or download them "
                "again."
            ) from error
        raise ModelError(
            f"{field}={name} could not be loaded ({_short(error)}). Give a hub name that can "
            "be reached from here or a folder written by save_pretrained."
        ) from error


def check_folder(field: str, name: str, location: str) -> None:
    """Refuse a folder whose files could not be read as what they are called.

    Args:
        field: as typed, such as ``student.name``.
        name: its value.
        location: what is read for it; nothing is checked where it is a hub's.

    Raises:
        ModelError: it is a path and no folder, a file is damaged or of another shape, or there are
            no safetensors weights.
    """
    check_description(field, name, location)
    folder = Path(location)
    if (folder / "config.json").is_file() and not [*folder.glob("*.safetensors")]:
        raise ModelError(f"{field}={name} {instead_of_weights(folder)}")


def check_description(field: str, name: str, location: str) -> None:
    """The same for what describes a model, whether or not its weights are there.

    Raises:
        ModelError: it is a path and no folder, or a file is damaged or of another shape.
    """
    folder = Path(location)
    with one_sentence(field, name):
        there = folder.is_dir()
    if not there and PATH.match(name):
        raise ModelError(f"{field}={name} could not be loaded: {instead_of_folder(name, folder)}")
    for file in (folder / name for name in OBJECTS if there):
        if file.is_file():
            check_object(field, name, file)


def check_numbers(field: str, name: str, location: str, *, revision: str | None) -> None:
    """Refuse sizes in a configuration that no weights could have.

    Raises:
        ModelError: there are some.
    """
    said, _ = PreTrainedConfig.get_config_dict(location, revision=revision)
    _check_fields(field, name, said, [*_shapes(field, name, Path(location))])


def check_size(
    field: str,
    name: str,
    location: str,
    *,
    auto: Any,
    dtype: torch.dtype,
    copies: float = 1.0,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Refuse a configuration that describes another model than its weights, or more than memory.

    Args:
        field: as typed.
        name: its value.
        location: a folder with its weights, or its name on the hub.
        auto: the auto class that would build it.
        dtype: of its weights in memory.
        copies: of it that are held here.
        revision: on the hub.
        trust_remote_code: whether code of its own builds it, which is not called for a look.

    Raises:
        ModelError: it does.
    """
    said, _ = PreTrainedConfig.get_config_dict(location, revision=revision)
    shapes = [*_shapes(field, name, Path(location))]
    _check_fields(field, name, said, shapes)
    if trust_remote_code:
        return
    config = AutoConfig.from_pretrained(location, revision=revision, trust_remote_code=False)
    with torch.device("meta"):
        module = auto.from_config(config)
    numbers = sum(parameter.numel() for parameter in module.parameters())
    held = sum(map(_numbers, shapes))
    if held and numbers > (PACKED if "quantization_config" in said else 2) * held:
        raise ModelError(
            f"{field}={name}: config.json describes {numbers:,} weights and the files hold "
            f"{held:,}. Copy or download both again."
        )
    taken, room = copies * numbers * dtype.itemsize, available()
    if room is not None and taken > room:
        raise ModelError(
            f"{field}={name} has {numbers:,} weights, which take {taken / 1e9:,.1f} GB, and "
            f"{room / 1e9:,.1f} GB of memory are free. Choose a smaller model, or set "
            f"{field.rpartition('.')[0]}.dtype=bfloat16."
        )


def check_weights(field: str, name: str, module: Any, found: Mapping[str, Any]) -> None:
    """Refuse weights that are not those of the model which the configuration describes.

    Args:
        field: as typed.
        name: its value.
        module: as it was loaded.
        found: what transformers says of loading it.

    Raises:
        ModelError: some are missing, of another shape, or of layers that the model does not have.
    """
    if missing := found["missing_keys"]:
        raise ModelError(
            f"{field}={name} lacks weights, which would stay random ({len(missing)}, "
            f"first {min(missing)}). Copy or download them again."
        )
    if other := sorted(found["mismatched_keys"]):
        key, held, described = other[0]
        stale = ""
        vocabulary = module.config.get_text_config().vocab_size
        if held[0] != described[0] == vocabulary:
            stale = f" Where only the vocabulary differs, set vocab_size to {held[0]} there."
        raise ModelError(
            f"{field}={name}: config.json describes {key} as {[*described]}, the weights hold "
            f"{[*held]} ({len(other)} differ). Copy or download both again.{stale}"
        )
    parts = module.named_modules()
    lists = {path: len(part) for path, part in parts if isinstance(part, nn.ModuleList)}
    for key in sorted(found["unexpected_keys"]):
        layer = NUMBERED.match(key)
        if layer and int(layer[2]) >= lists.get(layer[1], 1 << 30):
            raise ModelError(
                f"{field}={name}: config.json describes {lists[layer[1]]} parts of {layer[1]}, the "
                f"weights hold {key}. Copy or download config.json again."
            )


def _check_fields(
    field: str, name: str, said: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]
) -> None:
    """Refuse numbers of a configuration that no weights could have, before anything is built."""
    most = max(map(_numbers, shapes), default=available() or 1 << 40)
    most *= PACKED if "quantization_config" in said else 1
    for key, value in _flat(said):
        if key.endswith("attn_implementation") and "/" in str(value):
            raise ModelError(
                f"{field}={name}: {key}={value} of config.json would run code from the hub. Take "
                "it out of config.json."
            )
        if not isinstance(value, int) or not SIZE.search(key) or NO_SIZE.search(key):
            continue
        least, limit = int(bool(NEEDED.match(key))), most
        if LAYERS.search(key):
            limit = max(len(shapes), SHALLOW) if shapes else DEEPEST
        if not least <= value <= limit:
            raise ModelError(
                f"{field}={name}: config.json says {key}={value}, where weights like these allow "
                f"{least} to {limit}. Copy or download config.json again."
            )


def _shapes(field: str, name: str, folder: Path) -> Iterator[tuple[int, ...]]:
    """Of the tensors in a folder's safetensors files, read from their headers."""
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        try:
            with safe_open(file, framework="pt") as opened:
                keys = opened.keys()
                yield from (tuple(opened.get_slice(key).get_shape()) for key in keys)
        except Exception as error:
            raise ModelError(
                f"{field}={name} holds damaged weights ({file.name}: {_short(error)}). Copy or "
                "download them again."
            ) from error


def _numbers(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def check_object(field: str, name: str, file: Path) -> None:
    """Refuse a file that holds no fields.

    Raises:
        ModelError: it does not; the sentence begins with the field and its value.
    """
    try:
        held = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{field}={name}: {file.name} cannot be read ({_short(error)}). Copy or "
            "download it again, or write the folder anew with save_pretrained."
        ) from error
    if not isinstance(held, dict):
        raise ModelError(
            f"{field}={name}: {file.name} holds {json.dumps(held)[:40]}, not fields in braces. "
            "Copy or download it again, or write the folder anew with save_pretrained."
        )


def _flat(said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All fields, those of nested configurations too."""
    for key, value in said.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield key, value


def _short(error: Exception) -> str:
    """An error of somebody else's on one line, with its type where its words say little."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    named = isinstance(error, (OSError, ValueError, RuntimeError, ImportError)) and first
    return first[:200] if named else f"{type(error).__name__}: {first[:200]}"
