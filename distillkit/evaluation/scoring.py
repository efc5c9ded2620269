"""Models on given texts, position by position; likelihoods of whole responses."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from distillkit.core.types import Batch
from distillkit.divergences.apart import log_probs
from distillkit.divergences.base import kl
from distillkit.metrics.evidence import Compared
from distillkit.models.head import Head
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.likelihood import rows_within, token_nlls

CHUNK_MB = 64
"""Logits of both models that are alive at once; what is made of them takes a few times as much."""

COLUMNS = tuple(field.name for field in fields(Compared))

Tokens = Sequence[int]


def side_by_side(
    teacher: LanguageModel,
    model: LanguageModel,
    prompts: Sequence[tuple[Tokens, Tokens]],
    responses: Sequence[Tokens],
) -> list[np.ndarray]:
    """Both models on one batch of texts, without a gradient.

    Args:
        teacher: read first.
        model: the measured one; may be the teacher itself.
        prompts: of each row as the teacher and as the model read it.
        responses: token ids of each row, at least one.

    Returns:
        For each row the columns of :class:`Compared` in their order [11, T], fp32.
    """
    with ExitStack() as stack:
        for side in (teacher, model):
            stack.enter_context(evaluating(side))
        theirs, ours = teacher.head.prepared(), model.head.prepared()
        left = _states(teacher, [pair[0] for pair in prompts], responses)
        right = (
            left if model is teacher else _states(model, [pair[1] for pair in prompts], responses)
        )
        columns = [
            _columns(theirs, ours, left[0][part], right[0][part], left[1].targets[part])
            for part in _parts(len(left[1].targets), ours.vocabulary)
        ]
        table = torch.cat(columns, 1).cpu().numpy()
    ends = np.cumsum([len(response) for response in responses])[:-1]
    return [np.ascontiguousarray(part) for part in np.split(table, ends, axis=1)]


def foretell(
    model: LanguageModel, prompts: Sequence[Tokens], responses: Sequence[Tokens]
) -> list[np.ndarray]:
    """Log-probability of each token [T] of each response after its prompt, in nats, fp32."""
    with evaluating(model):
        hidden, batch = _states(model, prompts, responses)
        nlls = token_nlls(hidden, batch.targets, model.head, chunk_mb=CHUNK_MB)
        table = nlls.neg().float().cpu().numpy()
    return np.split(table, np.cumsum([len(response) for response in responses])[:-1])


def likelihoods(
    model: LanguageModel, prompts: Sequence[Tokens], responses: Sequence[Tokens]
) -> list[float]:
    """Log-probability of each whole response after its prompt, in nats."""
    with evaluating(model):
        head = model.head.prepared()
        hidden, batch = _states(model, prompts, responses)
        total = torch.zeros(len(prompts), dtype=torch.float64, device=model.device)
        for part in _parts(len(batch.targets), head.vocabulary):
            likely = log_probs(head.logits(hidden[part]))
            chosen = likely.gather(-1, batch.targets[part, None])[:, 0].double()
            total.index_add_(0, batch.rows[part], chosen)
    return total.tolist()


def as_compared(table: np.ndarray) -> Compared:
    """One row of :func:`side_by_side` under its names."""
    return Compared(**dict(zip(COLUMNS, table, strict=True)))


def _states(
    model: LanguageModel, prompts: Sequence[Tokens], responses: Sequence[Tokens]
) -> tuple[Tensor, Batch]:
    batch = model.batch(prompts, responses)
    return model.hidden(batch), batch


def _parts(positions: int, vocabulary: int) -> Iterator[slice]:
    rows = rows_within(CHUNK_MB, vocabulary)
    return (slice(start, start + rows) for start in range(0, positions, rows))


def _columns(theirs: Head, ours: Head, left: Tensor, right: Tensor, targets: Tensor) -> Tensor:
    """The columns of ``Compared`` for n positions [11, n]."""
    teacher, student = log_probs(theirs.logits(left)), log_probs(ours.logits(right))
    p, q = teacher.exp(), student.exp()
    five = min(5, ours.vocabulary)
    top_p, top_q = teacher.topk(five).indices, student.topk(five).indices
    both = (top_p[:, :, None] == top_q[:, None, :]).any(-1).float().mean(-1)
    found = {
        "teacher_log_prob": teacher.gather(-1, targets[:, None])[:, 0],
        "log_prob": student.gather(-1, targets[:, None])[:, 0],
        "teacher_entropy": -(p * teacher).sum(-1),
        "entropy": -(q * student).sum(-1),
        "forward_kl": kl(teacher, student),
        "reverse_kl": kl(student, teacher),
        "overlap": torch.minimum(p, q).sum(-1).clamp_max(1),
        "top1": top_p[:, 0] == top_q[:, 0],
        "top5": both,
        "confidence": q.gather(-1, top_q[:, :1])[:, 0],
        "hit": top_q[:, 0] == targets,
    }
    return torch.stack([found[name].float() for name in COLUMNS])
