"""What a model keeps for its backward pass, counted without weights.

A forward pass is made with torch's fake tensors, which have shapes and types but no memory, and
every tensor that autograd saves is counted once. So there is no formula of our own for any family:
the sizes are those of the operations that a CPU would run (attention included, which saves query,
key, value and its result, as the memory-efficient kernels of CUDA do).
https://docs.pytorch.org/docs/stable/torch.compiler_fake_tensor.html
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, UntypedStorage, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from transformers import masking_utils

from distillkit.models.blocks import keep_less
from distillkit.models.layers import layers_of
from distillkit.models.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that are kept from a forward pass to its backward pass."""

    fixed: float
    """Whatever the batch, such as bf16 copies of fp32 weights."""
    row: float
    """For each row."""


def kept_for_backward(
    sketch: Sketch, *, length: int, narrow: bool, checkpointing: bool
) -> Kept | None:
    """Of rows of so many tokens, all of them read: of a prompt the last layer keeps less.

    Two sizes of batch tell what grows with the rows from what does not.

    Args:
        sketch: the model that learns.
        length: tokens of a row.
        narrow: whether its layers are gathered in bf16; see
            :meth:`distillkit.distributed.sharded.Sharded.shard`.
        checkpointing: keep the input of every layer, and the whole of one at a time.

    Returns:
        None where the model cannot be run without numbers, as some mixtures of experts.
    """
    with _silent(), FakeTensorMode():
        try:
            module = _faked(sketch).eval()
            if narrow:
                _narrow(module)
            once, twice = (
                _Count(module, checkpointing=checkpointing).of(sketch, rows=rows, length=length)
                for rows in (1, 2)
            )
        except Exception:
            # Whatever code of a family asks for a number that is not there.
            return None
    return Kept(fixed=max(0, 2 * once - twice), row=twice - once)


def _faked(sketch: Sketch) -> Any:
    """The module with a fake tensor for each of its own; peft cannot move layers of such."""
    with unset_fake_temporarily(), torch.device("meta"):
        module = sketch.built()
    keep_less(module)
    made: dict[int, Tensor] = {}
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if id(weight) not in made:
                fake = torch.empty(weight.shape, dtype=weight.dtype)
                made[id(weight)] = nn.Parameter(fake, requires_grad=weight.requires_grad)
            setattr(part, name, made[id(weight)])
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype))
    return module


def _narrow(module: Any) -> None:
    """Layers and what goes into them in bf16, as FSDP's mixed precision has it."""

    def cast(_: nn.Module, args: tuple, given: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        def half(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(half, value))
            floats = isinstance(value, Tensor) and value.is_floating_point()
            return value.bfloat16() if floats else value

        return half(args), {name: half(value) for name, value in given.items()}

    for layer in layers_of(module):
        for part in layer.modules():
            for name, weight in part.named_parameters(recurse=False):
                half = nn.Parameter(weight.bfloat16(), requires_grad=weight.requires_grad)
                setattr(part, name, half)
        layer.register_forward_pre_hook(cast, with_kwargs=True)


class _Count:
    """Counts what is saved by one pass, and in which layer."""

    def __init__(self, module: Any, *, checkpointing: bool) -> None:
        self._module, self._checkpointing = module, checkpointing
        self._weights = {each.untyped_storage()._cdata for each in module.parameters()}
        # Held until all are counted, so that no address is used twice.
        self._seen: dict[int, UntypedStorage] = {}
        self._inputs: list[int] = []
        self._inside: list[int] = []

    def of(self, sketch: Sketch, *, rows: int, length: int) -> int:
        """Bytes, for a batch of so many rows."""
        body, hooks = self._module.base_model, self._hooks()
        ids = torch.zeros(rows, length, dtype=torch.long)
        with (
            # Without numbers transformers cannot see that a row holds one text, and keeps a mask.
            patch.object(masking_utils, "find_packed_sequence_indices", return_value=None),
            torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=sketch.autocast),
        ):
            body(input_ids=ids, use_cache=False)
        for hook in hooks:
            hook.remove()
        if not self._checkpointing:
            return self._saved()
        outside = self._saved() - sum(self._inside)
        return outside + sum(self._inputs) + max(self._inside)

    def _hooks(self) -> list[Any]:
        return [
            hook
            for layer in layers_of(self._module)
            for hook in (
                layer.register_forward_pre_hook(self._enter, with_kwargs=True),
                layer.register_forward_hook(self._leave),
            )
        ]

    def _enter(self, _: nn.Module, args: tuple, given: dict[str, Any]) -> None:
        states = args[0] if args else given["hidden_states"]
        self._inputs.append(states.numel() * states.element_size())
        self._inside.append(self._saved())

    def _leave(self, *_: Any) -> None:
        self._inside[-1] = self._saved() - self._inside[-1]

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights:
            self._seen[storage._cdata] = storage
        return tensor

    def _saved(self) -> int:
        return sum(storage.nbytes() for storage in self._seen.values())


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing of torch's about operations that need numbers."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before
