"""What a cache keeps of its teacher besides opinions, and how a student is made to fit it.

A student is confined and ended as it would be beside the teacher itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from distillkit.core.errors import ModelError
from distillkit.core.reading import read_with
from distillkit.models.head import Head
from distillkit.models.identity import digest_of_tokenizer
from distillkit.models.language_model import LanguageModel
from distillkit.models.pair import end_as
from distillkit.models.vocabulary import among
from distillkit.opinions.cache_layout import HEAD, WAY_OUT, CacheManifest


def ids_of(student: LanguageModel) -> dict[str, Any]:
    """The ids that both models of a pair predict, and what ends a text, as a manifest has them."""
    holes = student.head.holes
    return {
        "ids": {"end": student.vocabulary, "holes": [] if holes is None else holes.tolist()},
        "ends": {"end": student.end_id, "stop": sorted(student.stop_ids)},
        "tokenizer": digest_of_tokenizer(student.tokenizer, scored_by(student)),
    }


def scored_by(model: LanguageModel) -> frozenset[int]:
    """The ids that a model predicts."""
    return frozenset(model.tokenizer.get_vocab().values()) - model.prompts.unscored


def agree(path: Path, manifest: CacheManifest, student: LanguageModel) -> None:
    """Let a student predict the cache's ids, and end its text as the teacher does.

    Raises:
        ModelError: it gives tokens other ids, splits text otherwise, or lacks a row for an id.
    """
    ids = manifest["ids"]
    scored = frozenset(range(ids["end"])) - frozenset(ids["holes"])
    if digest_of_tokenizer(student.tokenizer, scored) != manifest["tokenizer"]:
        raise ModelError(
            f"student.name has another tokenizer than the one that teacher.path={path} was made "
            "for (field tokenizer of its manifest). Choose a student of the teacher's family, or "
            "make a cache for this one."
        )
    own = scored_by(student)
    if not scored <= own:
        raise ModelError(
            f"student.name has no row for {len(scored - own)} ids that teacher.path={path} tells "
            "of (field ids of its manifest). Make a cache for this student."
        )
    if scored != own:
        student.confine(among(scored, student.tokenizer.get_vocab().values()))
    end_as(student, end_id=manifest["ends"]["end"], stop_ids=frozenset(manifest["ends"]["stop"]))


@dataclass(slots=True)
class KeptHead:
    """The teacher's head, which makes logits of kept hidden states; its body is elsewhere."""

    head: Head

    def hidden(self, batch: Any) -> Tensor:
        """Nobody may ask."""
        raise NotImplementedError


def keep_head(head: Head, folder: Path) -> dict[str, Any]:
    """Write a head beside the shards; what a manifest has of it."""
    ready = head.prepared()
    tensors = {"weight": ready.weight, "bias": ready.bias, "holes": ready.holes}
    kept = {name: each.contiguous() for name, each in tensors.items() if each is not None}
    save_file(kept, folder / HEAD)
    return {
        "vocabulary": head.vocabulary,
        "scale": head.scale,
        "softcap": head.softcap,
        "narrow": head.narrow,
    }


def head_of(path: Path, manifest: CacheManifest, device: torch.device) -> KeptHead | None:
    """The head of a cache of hidden states; None of another."""
    if (told := manifest["head"]) is None:
        return None
    kept = read_with(load_file, path / HEAD, way_out=WAY_OUT)
    kept = {name: each.to(device) for name, each in kept.items()}
    return KeptHead(
        Head(weight=kept["weight"], bias=kept.get("bias"), holes=kept.get("holes"), **told)
    )
