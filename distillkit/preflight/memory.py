"""Does an update fit into the device's memory?"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, UntypedStorage

from distillkit.core.types import Author, Batch
from distillkit.models.language_model import LanguageModel
from distillkit.objectives.base import Objective
from distillkit.preflight.finding import Finding, fatal, ok, warning
from distillkit.preflight.sizes import size
from distillkit.preflight.subject import Subject

TENSORS_BESIDE_WEIGHTS = 3
"""Gradient and AdamW's two moments, each as large as what learns."""
PASSING = 1.5
"""What is kept for the backward pass, and beside it what only passes through it or through the
teacher, over what is kept; measured as the growth of a process over an update of 16,384 tokens."""


def state(subject: Subject) -> Iterator[Finding]:
    """Weights are in memory by now; gradients and moments must fit beside them, exactly known."""
    student = subject.student
    # A teacher may be the student's own weights.
    held = {p for model in subject.models.values() for p in model.module.parameters()}
    loaded = _bytes(held)
    needed = TENSORS_BESIDE_WEIGHTS * _bytes(student.parameters())
    free = subject.machine.free_memory(student.device)
    what = (
        f"gradients and AdamW moments take {size(needed)} on {student.device} beside "
        f"{size(loaded)} of weights; {_free(free)}"
    )
    if free is not None and needed > free:
        yield fatal(
            what,
            why="the first update would run out of memory",
            mend="Choose a smaller student.name=..., or set student.dtype=bfloat16 (coarser "
            "updates) or another device=...",
        )
    else:
        yield ok(what)


def peak(subject: Subject) -> Iterator[Finding]:
    """Activations of one micro-batch, scaled up from those of the probe batch, and its logits."""
    subject.needs("memory")
    run, student = subject.run, subject.student
    rows = _longest_row(subject)
    tokens = max(rows, min(run.loop.micro_batch_tokens, rows * run.loop.batch_size))
    fixed, each = activation_bytes(student, subject)
    held = PASSING * (fixed + each * tokens)
    logits = logit_bytes(run.objective, student.vocabulary, tokens)
    needed = TENSORS_BESIDE_WEIGHTS * _bytes(student.parameters()) + held + logits
    free = subject.machine.free_memory(student.device)
    what = (
        f"an update peaks at about {size(needed)}: activations {size(held)} for {tokens} tokens at "
        f"once, logits {size(logits)}, the rest gradients and moments; {_free(free)}"
    )
    if free is not None and needed > free:
        fitting = max(rows, int(tokens * max(0.1, (free - needed + held) / held * 0.8)))
        yield warning(
            what,
            why="an update may run out of memory, maybe hours after the start",
            mend=f"Set loop.micro_batch_tokens={fitting}, student.gradient_checkpointing=true or "
            "precision=bf16; none changes the result beyond rounding",
        )
    else:
        yield ok(what)


def writing(subject: Subject) -> Iterator[Finding]:
    """Caches and distributions of whoever writes while the student learns; a mixture has both."""
    run, authors = subject.run, subject.authors
    writers = [subject.student] if authors & {Author.student, Author.mixture} else []
    if Author.mixture in authors:
        writers.append(subject.teacher)
    if not writers:
        yield ok("nobody writes while the student learns")
        return
    rows = min(run.rollout.batch_size, run.loop.batch_size)
    longest = max(subject.prompt_lengths[index] for index in subject.kept)
    length = min(subject.context, longest + run.rollout.max_new_tokens)
    caches = sum(cache_bytes(model, rows=rows, length=length) for model in writers)
    # Of each its logits and probabilities, then their mixture in fp32 and its sums in fp64.
    drawing = rows * subject.student.vocabulary * (12 * len(writers) + 4)
    needed = TENSORS_BESIDE_WEIGHTS * _bytes(subject.student.parameters()) + caches + drawing
    free = subject.machine.free_memory(subject.student.device)
    what = (
        f"writing {rows} responses at once takes about {size(caches + drawing)} beside gradients "
        f"and moments, for {' and '.join(['the student', 'the teacher'][: len(writers)])}; "
        f"{_free(free)}"
    )
    if free is not None and needed > free:
        yield warning(
            what,
            why="a rollout may run out of memory",
            mend="Lower rollout.batch_size, which changes no result beyond rounding, or "
            "rollout.max_new_tokens",
        )
    else:
        yield ok(what)


def cache_bytes(model: LanguageModel, *, rows: int, length: int) -> int:
    """Keys and values of so many texts of so many tokens; 0 for a model without attention."""
    wide = 2 if model.autocast else model.module.dtype.itemsize
    return cache_of(model.module.config.get_text_config(), wide=wide, rows=rows, length=length)


def cache_of(config: Any, *, wide: int, rows: int, length: int) -> int:
    """The same, of what a configuration describes, in numbers of so many bytes."""
    queries = getattr(config, "num_attention_heads", None) or 0
    heads = getattr(config, "num_key_value_heads", None) or queries
    width = getattr(config, "head_dim", None) or config.hidden_size // max(1, queries)
    return 2 * config.num_hidden_layers * heads * width * wide * rows * length


def activation_bytes(student: LanguageModel, subject: Subject) -> tuple[float, float]:
    """What the student keeps for the backward pass, seen on the probe batch.

    Two sizes of batch tell what grows with the tokens from what does not, such as the bf16 copies
    of fp32 weights.

    Returns:
        Bytes whatever the batch, and bytes a token.
    """
    batch = subject.probe.student
    rows = len(batch.tokens) // 2
    whole, part = _kept(student, batch), _kept(student, _first(batch, rows)) if rows else 0
    tokens, fewer = (student.form.lay_out(of).among for of in (batch, _first(batch, rows)))
    each = (whole - part) / (tokens - fewer)
    fixed = max(0.0, whole - each * tokens)
    if not subject.run.student.gradient_checkpointing:
        return fixed, each
    config = student.module.config.get_text_config()
    inputs = config.num_hidden_layers * config.hidden_size * student.module.dtype.itemsize
    # One layer at a time is whole, of the others only the input is kept.
    return fixed, each / config.num_hidden_layers + inputs


def _kept(student: LanguageModel, batch: Batch) -> int:
    """Bytes that a forward pass saves for the backward pass, without checkpointing."""
    weights = {p.untyped_storage().data_ptr() for p in student.module.parameters()}
    # Held until all are counted, so that no address is used twice.
    seen: dict[int, UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage
        return tensor

    training = student.module.training
    # Checkpointing hides from the hook what it keeps, and works in training mode only.
    student.module.eval()
    try:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            student.hidden(batch)
    finally:
        student.module.train(training)
    return sum(storage.nbytes() for storage in seen.values())


def _first(batch: Batch, rows: int) -> Batch:
    chosen = batch.rows < rows
    packed = (part[chosen] for part in (batch.rows, batch.columns, batch.targets))
    return Batch(batch.tokens[:rows], batch.mask[:rows], *packed)


def logit_bytes(objective: Objective, vocabulary: int, positions: int) -> int:
    """Both sides' fp32 logits of one chunk of positions."""
    return min(2 * vocabulary * 4 * positions, objective.chunk_mb << 20)


def _longest_row(subject: Subject) -> int:
    """Tokens of the longest prompt and response that may meet in one row."""
    references = subject.reference_lengths if Author.dataset in subject.authors else []
    rows = (
        subject.prompt_lengths[index] + max(subject.room, references[index] if references else 0)
        for index in subject.kept
    )
    return min(subject.context, max(rows))


def _bytes(parameters: object) -> int:
    """Of what this process holds of them."""
    held = (p.to_local() if hasattr(p, "to_local") else p for p in parameters)  # type: ignore[attr-defined]
    return sum(p.numel() * p.element_size() for p in held)


def _free(free: int | None) -> str:
    return "nobody knows what is free" if free is None else f"{size(free)} are free"
