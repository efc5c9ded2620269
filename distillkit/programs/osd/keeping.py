"""Old requests in a checkpoint, as rows of a file of JSON lines."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from distillkit.core.reading import read_json_lines
from distillkit.core.types import Author, Response
from distillkit.online.records import Record
from distillkit.online.requests import Request
from distillkit.supports.base import Sparse
from distillkit.training.checkpoint import WAY_OUT


def old_rows(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """A row for each record; numbers are written with all their digits."""
    for record in records:
        labels = None if record.labels is None else [each.tolist() for each in record.labels]
        yield {
            "request": record.request,
            "tokens": record.response.tokens,
            "truncated": record.response.truncated,
            "rejected": record.rejected,
            "labels": labels,
        }


def read_old(file: Path, requests: Sequence[Request]) -> list[Record]:
    """The records of a checkpoint that was checked; none where it has no such file.

    Raises:
        RunError: the file is damaged.
    """
    if not file.is_file():
        return []
    rows = read_json_lines(file, dict[str, Any], way_out=WAY_OUT)
    return [_record(row, requests) for row in rows]


def _record(row: dict[str, Any], requests: Sequence[Request]) -> Record:
    labels = None
    if row["labels"] is not None:
        ids, log_probs, rest = row["labels"]
        labels = Sparse(torch.tensor(ids), torch.tensor(log_probs), torch.tensor(rest))
    response = Response(tuple(row["tokens"]), row["truncated"], Author.teacher)
    number = row["request"]
    return Record(number, requests[number].example, response, labels, tuple(row["rejected"]))
