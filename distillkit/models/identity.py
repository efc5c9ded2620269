"""What tells one model from another: a digest of all that it computes with."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import Pretrained
from distillkit.models.prompts import PromptFormat
from distillkit.models.reading import PROBE
from distillkit.models.shared_ids import merges_of


def identity(source: Pretrained, model: LanguageModel) -> dict[str, str | None]:
    """What tells this model from others: the hub commit, and a digest of all it computes with."""
    commit = _commit(model.module)
    return {"name": source.name, "commit": commit, "digest": digest_of_writer(model)}


def digest_of_writer(model: LanguageModel) -> str:
    """:func:`digest_of` a model, and of its draft, which has a part in what is drawn."""
    with model.plain():
        digest = digest_of(model.module)
    if model.draft is None:
        return digest
    return f"{digest}+{digest_of(model.draft.model.module)}*{model.draft.proposals}"


def digest_of(module: Any) -> str:
    """16 hex digits of all that a transformers model computes with.

    Its weights (the hub commit stands for those of the hub), its buffers, those that are never
    saved too, its configuration and its generation settings.
    """
    digest = hashlib.sha256()
    tensors = dict(module.named_buffers())
    if (commit := _commit(module)) is not None:
        digest.update(commit.encode())
    else:
        tensors |= module.state_dict()
    _add(digest, tensors)
    for settings in (module.config, getattr(module, "generation_config", None)):
        told = _less(settings.to_dict(), NOT_COMPUTED) if settings is not None else None
        digest.update(json.dumps(told, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits of tensors and their names."""
    digest = hashlib.sha256()
    _add(digest, tensors)
    return digest.hexdigest()[:16]


def digest_of_tokenizer(tokenizer: Any, ids: Collection[int]) -> str:
    """16 hex digits of the tokens of some ids, and of how a text is split."""
    named = sorted((each, token) for token, each in tokenizer.get_vocab().items() if each in ids)
    told = [named, merges_of(tokenizer), tokenizer.encode(PROBE, add_special_tokens=False)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def digest_of_template(prompts: PromptFormat) -> str:
    """16 hex digits of how a model is asked."""
    source = None if prompts.chat is None else str(prompts.tokenizer.get_chat_template())
    told = [str(prompts.style), source, prompts.template]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _add(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    for name, held in sorted(tensors.items()):
        # Of a sharded model a process holds a part: all call this, and one is whole at a time.
        tensor: Any = held.full_tensor() if hasattr(held, "full_tensor") else held
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


NOT_COMPUTED = ("_name_or_path", "transformers_version", "_commit_hash")
"""Settings of a model that say where it came from."""


def _commit(module: Any) -> str | None:
    """The hub commit of a model that came from the hub; a folder's own word for it is none."""
    commit = getattr(module.config, "_commit_hash", None)
    return None if commit is None or Path(module.config.name_or_path).exists() else str(commit)


def _less(settings: Any, names: Sequence[str]) -> Any:
    """Nested settings without those of some names."""
    if not isinstance(settings, dict):
        return settings
    return {str(key): _less(settings[key], names) for key in settings if key not in names}
