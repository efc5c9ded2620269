"""Models without weights, as their configurations describe them: shapes, and who holds what.

A configuration is all that is read: no weights need be where it is.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.initialization import no_tie_weights
from transformers.utils import logging

from distillkit.core.errors import ModelError
from distillkit.distributed.placement import Placement
from distillkit.models.adapter_folder import base_of
from distillkit.models.adapters import inject
from distillkit.models.folder import check_description, check_numbers, one_sentence
from distillkit.models.language_model import PACKING
from distillkit.models.loading import dtype_of, locate
from distillkit.models.pretrained import Pretrained, Student
from distillkit.models.sharding import deal_out, read_in_parts


@dataclass(frozen=True, slots=True)
class Sketch:
    """One side of a run as it would be loaded, without its weights."""

    source: Pretrained
    config: Any
    """Of transformers."""
    dtype: torch.dtype
    """Of its weights."""
    autocast: bool
    """Whether they are fp32 and multiplied in bf16."""

    @classmethod
    def of(cls, source: Pretrained, *, precision: str) -> "Sketch":
        """Read the configuration.

        Args:
            source: what the user asked for.
            precision: ``fp32`` or ``bf16``.

        Raises:
            ModelError: there is none, it cannot be read, or its weights would be packed.
        """
        learns = isinstance(source, Student)
        field = f"{'student' if learns else 'teacher'}.name"
        # What an adapter has learned is merged into weights of the same shapes.
        base = base_of(source, name=f"{field}={source.name}", location=locate(source.name))
        source = base or source
        location = locate(source.name)
        # An error is one line, and what is warned of concerns text, which nobody writes here.
        logging.set_verbosity_error()
        check_description(field, source.name, location)
        with one_sentence(field, source.name):
            if not source.trust_remote_code:
                check_numbers(field, source.name, location, revision=source.revision)
            config = AutoConfig.from_pretrained(location, **_shared(source))
        if getattr(config, "quantization_config", None):
            raise ModelError(
                f"{field}={source.name} has quantised weights, whose bytes cannot be told from "
                "config.json. Give the model that it was made of."
            )
        dtype = dtype_of(source.dtype, precision, learns=learns)
        return cls(source, config, dtype, precision == "bf16" and dtype == torch.float32)

    @property
    def text(self) -> Any:
        """The configuration of what reads and writes text."""
        return self.config.get_text_config()

    @property
    def context(self) -> int:
        """Most tokens of prompt and response together."""
        return getattr(self.text, "max_position_embeddings", 1 << 30)

    @property
    def packs(self) -> bool:
        """Whether rows go through it end to end instead of padded."""
        return self.source.attention in PACKING

    def built(self) -> Any:
        """The module, with parameters wherever torch makes them now; those that learn say so."""
        # What needs a GPU to be built has the same parameters as what does not.
        attention = "sdpa" if self.packs else self.source.attention
        module = AutoModelForCausalLM.from_config(
            self.config,
            dtype=self.dtype,
            attn_implementation=attention,
            trust_remote_code=self.source.trust_remote_code,
        )
        inject(module, self.source)
        return module

    def dealt_out(self, placement: Placement) -> Any:
        """The module on the meta device, as this process of a placement would hold it.

        It is sharded as loading does it: by the family's plan, or layer by layer.
        """
        parts = self._parts(placement)
        # Loading by a plan ties only what it has dealt out.
        tied = no_tie_weights() if parts else nullcontext()
        field = f"{self._side}.name"
        with one_sentence(field, self.source.name), torch.device("meta"), tied:
            module = self.built()
        if parts:
            sizes, _, mesh = module.prepare_distribute_model(parts["distributed_config"])
            module = module.maybe_distribute_model(module, sizes, mesh)
            module.tie_weights()
        if placement.IN_STEP:
            deal_out(module, placement, narrow=self.autocast)
        return module

    def read_whole(self, placement: Placement) -> bool:
        """Whether every process reads all of it onto its device before it is dealt out."""
        return placement.IN_STEP and not self._parts(placement)

    def _parts(self, placement: Placement) -> dict[str, Any]:
        """What loading would be told, for every process to read its part."""
        if self.autocast or not placement.IN_STEP:
            return {}
        own = torch.accelerator.current_accelerator() or torch.device("cpu")
        location = locate(self.source.name)
        return read_in_parts(location, placement, device=own, **_shared(self.source))

    @property
    def _side(self) -> str:
        return "student" if isinstance(self.source, Student) else "teacher"


def _shared(source: Pretrained) -> dict[str, Any]:
    return {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
