"""Old requests in a checkpoint, as tensors."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from distillkit.core.reading import read_with
from distillkit.core.types import Author, Response
from distillkit.online.records import Record
from distillkit.online.requests import Request
from distillkit.supports.base import Sparse
from distillkit.training.checkpoint import WAY_OUT

OLD = "old.safetensors"
"""File of the old requests that updates see again."""


def save_old(records: Sequence[Record], folder: Path) -> None:
    """Write records end to end: numbers of each request, then of each token."""
    whole = {
        "request": torch.tensor([record.request for record in records]),
        "length": torch.tensor([len(record.response.tokens) for record in records]),
        "truncated": torch.tensor([record.response.truncated for record in records]),
        "tokens": torch.tensor([token for each in records for token in each.response.tokens]),
        "rejected": torch.tensor([flag for each in records for flag in each.rejected]),
    }
    labels = [record.labels for record in records if record.labels is not None]
    if labels:
        ids, log_probs, rest = (torch.cat(each).cpu() for each in zip(*labels, strict=True))
        whole |= {"ids": ids.int(), "log_probs": log_probs, "rest": rest}
    save_file(whole, folder / OLD)


def read_old(folder: Path, requests: Sequence[Request], *, device: torch.device) -> list[Record]:
    """The records of a checkpoint that was checked; none where it has no such file.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / OLD
    if not file.is_file():
        return []
    whole = read_with(load_file, file, way_out=WAY_OUT)
    lengths = whole["length"].tolist()
    tokens, rejected = (whole[name].split(lengths) for name in ("tokens", "rejected"))
    labels: list[Sparse | None] = [None] * len(lengths)
    if "ids" in whole:
        parts = (whole["ids"].long(), whole["log_probs"], whole["rest"])
        told = (part.to(device).split(lengths) for part in parts)
        labels = [Sparse(*each) for each in zip(*told, strict=True)]
    rows = zip(whole["request"].tolist(), whole["truncated"].tolist(), strict=True)
    return [
        Record(
            number,
            requests[number].example,
            Response(tuple(tokens[row].tolist()), truncated, Author.teacher),
            labels[row],
            tuple(rejected[row].tolist()),
        )
        for row, (number, truncated) in enumerate(rows)
    ]
