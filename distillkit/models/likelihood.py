"""How likely a model finds the tokens of a text: no gradient, and never all logits at once."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.core.types import Batch, PerToken
from distillkit.divergences.apart import FLOOR, log_probs
from distillkit.models.head import Head
from distillkit.supports.odds import Odds


class Scorer(Protocol):
    """The part of a language model that scores a batch."""

    head: Head

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states at the packed positions [N, D]."""


def rows_within(chunk_mb: int, vocabulary: int) -> int:
    """Positions whose logits of teacher and student fit into so many mebibytes; at least 1."""
    return max(1, (chunk_mb << 20) // (2 * 4 * vocabulary))


def dealt(positions: int, most: int) -> int:
    """Positions of a chunk where all are about equal: of a small last one each costs more."""
    return -(-positions // -(-positions // most)) if positions else most


def token_nlls(hidden: Tensor, targets: Tensor, head: Head, *, chunk_mb: int) -> PerToken:
    """Negative log-likelihood of every packed target in nats [N].

    Args:
        hidden: last hidden states at the packed positions [N, D].
        targets: the token that follows each [N].
        head: projects the states.
        chunk_mb: as in :func:`rows_within`.
    """
    ready = head.prepared()
    rows = rows_within(chunk_mb, ready.vocabulary)
    return torch.cat(
        [
            functional.cross_entropy(ready.logits(states), wanted, reduction="none")
            for states, wanted in zip(hidden.split(rows), targets.split(rows), strict=True)
        ]
    )


def token_odds(
    hidden: Tensor, targets: Tensor, head: Head, *, rows: int, temperature: float = 1.0
) -> Odds:
    """How likely every packed target is, and all others together [N].

    Args:
        hidden: last hidden states at the packed positions [N, D].
        targets: the token that follows each [N].
        head: projects the states.
        rows: positions whose logits are made at a time.
        temperature: divides the logits.
    """
    ready, found = head.prepared(), []
    for states, wanted in zip(hidden.split(rows), targets.split(rows), strict=True):
        every, token = log_probs(ready.logits(states), temperature), wanted[:, None]
        own = every.gather(-1, token)[:, 0]
        rest = every.scatter_(-1, token, FLOOR).logsumexp(-1).clamp_min(FLOOR)
        found.append((own, rest))
    return Odds(*map(torch.cat, zip(*found, strict=True)))


def total_nll(batch: Batch, model: Scorer, *, chunk_mb: int) -> float:
    """Summed negative log-likelihood of the responses, in nats."""
    nlls = token_nlls(model.hidden(batch), batch.targets, model.head, chunk_mb=chunk_mb)
    return nlls.sum(dtype=torch.float64).item()
