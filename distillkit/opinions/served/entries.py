"""Which entries of the student's a server is asked about, and what is left for all others."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from distillkit.core.types import Rollout
from distillkit.divergences.apart import FLOOR
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.likelihood import rows_within

AT_ONCE = 16384
"""Padded tokens that the student reads side by side."""
UNSEEN = 2.0**-24
"""Mass that rounding hides from one minus a sum of fp32 probabilities."""


def likeliest(
    student: LanguageModel, rollouts: Sequence[Rollout], k: int
) -> list[NDArray[np.uint32]]:
    """The student's k likeliest entries at each position of each response, as it is now [T, k]."""
    found: list[NDArray[np.uint32]] = []
    with torch.no_grad(), evaluating(student):
        for part in _side_by_side(rollouts):
            texts = [rollout.response.tokens for rollout in part]
            prompts = student.prompts.of([rollout.example for rollout in part])
            states = student.hidden(student.batch(prompts, texts))
            ready = student.head.prepared()
            rows = rows_within(160, ready.vocabulary)
            ids = torch.cat([ready.logits(some).topk(k).indices for some in states.split(rows)])
            split = ids.cpu().split([len(text) for text in texts])
            found += [each.numpy().astype(np.uint32) for each in split]
    return found


def _side_by_side(rollouts: Sequence[Rollout]) -> Iterator[Sequence[Rollout]]:
    """Neighbours that are read together, as a reader is told of them: by length."""
    group: list[Rollout] = []
    for rollout in rollouts:
        longest = max(len(each.response.tokens) for each in (*group, rollout))
        if group and (len(group) + 1) * longest > AT_ONCE:
            yield group
            group = []
        group.append(rollout)
    yield group


def rest_of(log_probs: NDArray[np.float32], *, others: int, ranked: bool) -> NDArray[np.float32]:
    """Log-probability of all entries that were not told, at each position [T].

    One minus the sum of what was told knows the rest to some 1e-7. A rest that vanishes in that is
    given what rounding may have hidden, for the student has mass there too, and no more than so
    many entries can have of which each is less likely than the last that was told.

    Args:
        log_probs: of the entries that were told [T, K].
        others: how many there are besides.
        ranked: whether those that were told are the likeliest.
    """
    if others <= 0:
        return np.full(len(log_probs), FLOOR, np.float32)
    told = np.exp(log_probs.astype(np.float64))
    most = others * told.min(-1) if ranked else np.ones(len(told))
    rest = np.minimum(np.maximum(1 - told.sum(-1), UNSEEN), most)
    return np.log(np.maximum(rest, np.finfo(np.float64).tiny)).astype(np.float32)
