"""The engine: head, loss and their gradients one chunk of positions at a time.

No tensor of positions x vocabulary for the whole batch ever exists, and no projection is done
twice: the gradient of a chunk's logits is taken at once and goes straight into those of the hidden
states and of the head. Inside a chunk the elementwise work runs over blocks that stay in the cache
on a CPU, and as one fused kernel on CUDA.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from distillkit.core.clock import Clock
from distillkit.core.memory import keep_freed_pages
from distillkit.models.head import Head, HeadGradient

BLOCK = 1 << 19
"""Entries of a block on the CPU: two megabytes of fp32."""

LossOf = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Logits [n, V] of a slice of positions to sums over them [P], the loss among these, and the
gradient of the loss [n, V]."""


def backward_in_chunks(
    hidden: Tensor, head: Head, loss_of: LossOf, *, rows: int, clock: Clock
) -> list[float]:
    """Back-propagate a sum over positions without holding all logits.

    Args:
        hidden: the student's hidden states [N, D], attached to its graph.
        head: its head.
        loss_of: see ``LossOf``; it may keep neither tensor.
        rows: positions in a chunk.
        clock: counts the phases ``loss``, head included, and ``student``, the body's backward pass.

    Returns:
        The whole sums [P]. Gradients are in ``.grad`` of every parameter involved.
    """
    assert len(hidden) > 0
    keep_freed_pages()
    total = torch.zeros((), dtype=torch.float64, device=hidden.device)
    with torch.no_grad(), clock("loss"):
        ready, added = head.prepared(), HeadGradient(head)
        gradient, buffer = torch.empty_like(hidden), ready.buffer(min(rows, len(hidden)))
        for start in range(0, len(hidden), rows):
            part = slice(start, min(start + rows, len(hidden)))
            logits = ready.logits(hidden[part], into=buffer)
            sums, slope = loss_of(logits, part)
            slope = ready.gradient_of_product(slope, logits)
            gradient[part] = ready.gradient_of_hidden(slope)
            added.add(slope, hidden[part])
            total = total + sums
        added.close()
    with clock("student"):
        hidden.backward(gradient)
    return total.tolist()


def blocks(logits: Tensor) -> Iterator[slice]:
    """Slices of a chunk [n, V] to be worked on one by one; the whole of it on CUDA."""
    rows = len(logits) if logits.is_cuda else max(1, BLOCK // logits.shape[-1])
    for start in range(0, len(logits), rows):
        yield slice(start, start + rows)


def fused(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """An elementwise function as one kernel where that pays: compiled on CUDA, as it is elsewhere.

    Compiling takes half a minute on a CPU and gains a fifth there.
    """
    return _compiled(function) if device.type == "cuda" else function


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)
