"""Low-rank adapters on a frozen model (LoRA, arXiv:2106.09685): all that knows peft.

An adapted layer stands in the model in place of a linear one, which it holds. For whoever needs the
model without adapters, or with what they learned in its weights, the layers are exchanged for plain
ones and put back: a weight of the base is never written to, so nothing has to be undone.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from distillkit.core.errors import ConfigError, ModelError
from distillkit.models.pretrained import ALL_LINEAR, Adapter, Pretrained, Student

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Files of an adapter, as peft calls them."""
NAME = "default"
"""Of the one adapter of a model, inside of peft."""
TARGETS = "student.adapter.targets"


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a model where an adapted layer stands."""

    parent: nn.Module
    name: str
    layer: Any
    """Of peft; holds the plain one."""


class Adapters:
    """The adapted layers of one model.

    Args:
        tuned: the model, wrapped by peft.
        source: what the user asked for; None where all of it comes from a folder.
    """

    def __init__(self, tuned: Any, source: Student | None = None) -> None:
        from peft.tuners.lora import LoraLayer

        self._tuned, self._source = tuned, source
        module = tuned.get_base_model()
        self.slots = [
            Slot(module.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], layer)
            for path, layer in module.named_modules()
            if isinstance(layer, LoraLayer)
        ]
        """In the order of the model."""

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Inside, the plain layers stand where the adapted ones do: the base, tensor for tensor."""
        with self._exchanged(lambda layer: layer.get_base_layer()):
            yield

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Inside, plain layers with the updates in their weights stand there."""
        with self._exchanged(_merged):
            yield

    def settle(self) -> None:
        """Leave the merged layers there for good."""
        for slot in self.slots:
            setattr(slot.parent, slot.name, _merged(slot.layer))

    def begin(self, seed: int) -> None:
        """Draw the first factors anew, as peft does; the second ones are zero until they learn."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for slot in self.slots:
                weight = slot.layer.lora_A[NAME].weight
                drawn = torch.empty(weight.shape)
                nn.init.kaiming_uniform_(drawn, a=5**0.5, generator=generator)
                weight.copy_(drawn)

    @property
    def source(self) -> Student:
        """What the user asked for."""
        assert self._source is not None
        return self._source

    def save(self, folder: Path) -> None:
        """Write the adapter as peft does, with the name of its base as it was typed."""
        folder.mkdir(exist_ok=True)
        save_file(self.state(), folder / WEIGHTS, metadata={"format": "pt"})
        config = copy(self._tuned.peft_config[NAME])
        config.base_model_name_or_path, config.inference_mode = self.source.name, True
        # A set, whose order changes from process to process.
        config.target_modules = sorted(config.target_modules)
        config.save_pretrained(str(folder))

    def state(self) -> dict[str, Tensor]:
        """The adapter's weights, by peft's names."""
        from peft import get_peft_model_state_dict

        found = get_peft_model_state_dict(
            self._tuned, adapter_name=NAME, save_embedding_layers=False
        )
        return {name: tensor.detach().contiguous() for name, tensor in found.items()}

    @contextmanager
    def _exchanged(self, plain: Callable[[Any], nn.Module]) -> Iterator[None]:
        before = [getattr(slot.parent, slot.name) for slot in self.slots]
        try:
            for slot in self.slots:
                setattr(slot.parent, slot.name, plain(slot.layer))
            yield
        finally:
            for slot, layer in zip(self.slots, before, strict=True):
                setattr(slot.parent, slot.name, layer)


def _merged(layer: Any) -> nn.Module:
    """A plain layer with the update in its weights: added in fp32 at least, rounded once."""
    base = layer.get_base_layer()
    whole, twin = copy(base), copy(layer)
    dtype = torch.promote_types(base.weight.dtype, torch.float32)
    with torch.no_grad():
        # A copy of a module shares the dictionaries of its parts until it has its own.
        whole._parameters = dict(base._parameters)
        whole.weight = nn.Parameter(base.weight.to(dtype, copy=True), requires_grad=False)
        twin._modules, twin._caches, twin.merged_adapters = dict(layer._modules), {}, []
        twin.base_layer = whole
        twin.merge()
        narrow = whole.weight.data.to(base.weight.dtype)
        whole.weight = nn.Parameter(narrow, requires_grad=False)
    return whole


def inject(
    module: Any,
    source: Pretrained,
    *,
    whole: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Adapters | None:
    """Put adapters on a model whose weights are frozen, where they are asked for.

    Args:
        module: a transformers model, still plain.
        source: what the user asked for.
        whole: all of its weights are here inside.

    Returns:
        The adapters; None where there are none.

    Raises:
        ConfigError: peft is missing, or a target is no linear layer of the model, or its head.
        ModelError: the weights are quantised.
    """
    if not isinstance(source, Student) or not source.adapter.rank:
        return None
    if getattr(module.config, "quantization_config", None) is not None:
        raise ModelError(
            f"student.name={source.name} has quantised weights, into which nothing can be merged "
            "exactly. Write the folder again with save_pretrained, unquantised, or choose another "
            "student."
        )
    peft = needed("student.adapter.rank")
    asked = source.adapter
    _check_targets(module, asked)
    names = asked.names
    head = module.get_output_embeddings()
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=asked.rank,
        lora_alpha=asked.alpha,
        target_modules=ALL_LINEAR if names == (ALL_LINEAR,) else [*names],
        lora_dropout=asked.dropout,
        use_dora=asked.dora,
        use_rslora=asked.rslora,
        revision=source.revision,
    )
    # What learns is small, and every process has all of it, beside its part of the base.
    with whole(), quietly():
        adapters = Adapters(peft.get_peft_model(module, config, adapter_name=NAME), source)
    adapters.begin(0)
    _check_head(module, head, adapters)
    return adapters


def _check_targets(module: Any, asked: Adapter) -> None:
    """Refuse a name of no linear layer, which peft would leave out without a word."""
    kinds: dict[str, set[type]] = {}
    for path, part in module.named_modules():
        kinds.setdefault(path.rpartition(".")[2], set()).add(type(part))
    head = module.get_output_embeddings()
    own = {path.rpartition(".")[2] for path, part in module.named_modules() if part is head}
    linear = {name for name, types in kinds.items() if types <= {nn.Linear, Conv1D}}
    for name in asked.names:
        if name != ALL_LINEAR and name not in linear:
            raise ConfigError(
                f"{TARGETS} names {name}, which is no linear layer of a {type(module).__name__}. "
                f"Choose among {', '.join(sorted(linear - own))}, or all-linear."
            )


def _check_head(module: Any, head: Any, adapters: Adapters) -> None:
    """Refuse an adapter on the head, whose weights the loss reads by itself."""
    weights = (slot.layer.get_base_layer().weight for slot in adapters.slots)
    if module.get_output_embeddings() is not head or any(each is head.weight for each in weights):
        raise ConfigError(
            f"{TARGETS} puts an adapter on the head, whose weights the loss reads without it. "
            "Leave the head out, or use all-linear, which does."
        )


def needed(asked: str) -> Any:
    """The module ``peft``.

    Raises:
        ConfigError: it is not installed; ``asked`` is what needs it.
    """
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            f"{asked} needs peft, which is not installed. Install it with "
            "`pip install 'distillkit[adapter]'`."
        ) from error
    return peft


@contextmanager
def quietly() -> Iterator[None]:
    """Neither peft's warnings, nor draws of the global generator, are left outside."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield
