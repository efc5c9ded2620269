"""Supervised fine-tuning: cross-entropy on text that somebody else wrote."""

import torch
from torch import Tensor
from torch.nn import functional

from distillkit.core.clock import Clock
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Author, Batch
from distillkit.objectives.base import Objective, Scored, Scorer
from distillkit.objectives.chunked import backward_in_chunks, blocks, fused, rows_within


@spec("objective/sft")
class SFT(Objective):
    """Negative log-likelihood: SFT on the dataset's text, SeqKD on the teacher's."""

    def check_authors(self, authors: frozenset[Author]) -> None:
        # Cross-entropy on a model's own samples feeds its errors back to it until it collapses.
        if authors & {Author.student, Author.mixture}:
            raise ConfigError(
                "objective=sft takes text as true and cannot learn from what the student wrote, "
                "alone or with the teacher. Use objective=divergence, or policy=off_policy or "
                "policy=seq_kd."
            )

    def backward(
        self,
        batch: Scored,
        *,
        student: Scorer,
        teacher: Scorer | None,
        clock: Clock | None = None,
    ) -> float:
        clock = clock or Clock()
        targets, weights = batch.student.targets, batch.weights
        nll = fused(_nll, targets.device)

        def loss_of(logits: Tensor, part: slice) -> tuple[Tensor, Tensor]:
            total, gradient = weights.new_zeros(()), torch.empty_like(logits)
            for block in blocks(logits):
                loss, gradient[block] = nll(
                    logits[block], targets[part][block], weights[part][block]
                )
                total += loss
            return total, gradient

        rows = rows_within(self.chunk_mb, student.head.vocabulary)
        with clock("student"):
            hidden = student.hidden(batch.student)
        return backward_in_chunks(hidden, student.head, loss_of, rows=rows, clock=clock)


def _nll(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sum of the negative log-likelihood, and its gradient by the logits [n, V]."""
    log_probs = logits.log_softmax(-1)
    likelihood = log_probs.gather(-1, targets[:, None])
    gradient = log_probs.exp_()
    gradient.scatter_add_(-1, targets[:, None], torch.full_like(likelihood, -1))
    return -(likelihood[:, 0] * weights).sum(), gradient * weights[:, None]


def total_nll(batch: Batch, model: Scorer, *, chunk_mb: int) -> float:
    """Summed negative log-likelihood of the responses, in nats, without a gradient."""
    hidden, targets, head = model.hidden(batch), batch.targets, model.head.prepared()
    rows = rows_within(chunk_mb, head.vocabulary)
    return sum(
        functional.cross_entropy(head.logits(states), wanted, reduction="sum").item()
        for states, wanted in zip(hidden.split(rows), targets.split(rows), strict=True)
    )
