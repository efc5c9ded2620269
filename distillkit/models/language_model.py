"""One causal language model as the rest of distillkit sees it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.core.types import Batch, Example
from distillkit.distributed.holding import gather_head, is_sharded, without_gradient
from distillkit.distributed.placement import ALONE
from distillkit.models import end_to_end
from distillkit.models.decoder import Decoder, decodes
from distillkit.models.forms.base import Form
from distillkit.models.forms.decoder_only import DecoderOnly
from distillkit.models.full_decoder import FullDecoder
from distillkit.models.head import Head
from distillkit.models.layers import drops
from distillkit.models.module_decoder import ModuleDecoder
from distillkit.models.narrowing import where_read
from distillkit.models.prompts import PromptFormat
from distillkit.models.reading import UNCACHED, Way, quickest, written
from distillkit.models.rereading import Opens, reread
from distillkit.models.rows_decoder import RowsDecoder
from distillkit.models.vocabulary import RealIds
from distillkit.models.voice import Opened

PACKING = ("flash_attention_2", "flash_attention_3", "flex_attention", end_to_end.NAME)
"""Attention implementations that skip other rows' blocks of a packed batch."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that proposes so many tokens at a time for another one to accept or replace."""

    model: "LanguageModel"
    proposals: int


class LanguageModel:
    """Body, head, tokenizer and prompt format of one side.

    Attributes:
        module: the transformers model.
        prompts: renders prompts for this model.
        stop_ids: tokens that end a response.
        end_id: the one of them that closes a response taken from the dataset.
        context: most tokens of prompt and response together.
        notes: what was mended while it was loaded, for the user.
        draft: proposes what this model writes; None where it writes alone.
        placement: the processes that hold it.
        narrowed: the block of the last layer, where it may work at single positions.
        drops: whether it learns with dropout, and has some.
    """

    def __init__(
        self,
        module: Any,
        *,
        head: Head,
        prompts: PromptFormat,
        stop_ids: frozenset[int],
        context: int,
        autocast: bool = False,
    ) -> None:
        self.module, self._head, self.prompts = module, head, prompts
        self.stop_ids, self.context, self.autocast = stop_ids, context, autocast
        self.device: torch.device = head.weight.device
        """Where the weights are."""
        self.end_id: int = prompts.tokenizer.eos_token_id
        self.notes: Sequence[str] = ()
        self.draft: Draft | None = None
        self.placement = ALONE
        self.narrowed: nn.Module | None = None
        self.drops = False

    def whole(self) -> AbstractContextManager[None]:
        """All of its weights are here inside; called by all processes that hold it."""
        return self.placement.whole(self.module)

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""
        return self.prompts.tokenizer

    @property
    def head(self) -> Head:
        """The output head, cut to the real vocabulary.

        Its weights are looked up anew: a sharded model has others before, in and after a pass.
        """
        layer = self.module.get_output_embeddings()
        if is_sharded(self.module):
            gather_head(self.module)
        return replace(self._head, weight=layer.weight, bias=getattr(layer, "bias", None))

    @head.setter
    def head(self, head: Head) -> None:
        self._head = head

    def confine(self, ids: RealIds) -> None:
        """Predict these ids and no others."""
        holes = None
        if ids.holes:
            holes = torch.tensor(ids.holes, dtype=torch.long, device=self.device)
        self._head = replace(self._head, vocabulary=ids.end, holes=holes)
        self.prompts.unscored = ids.unscored

    @property
    def vocabulary(self) -> int:
        """One more than the largest real id."""
        return self._head.vocabulary

    def body(self, **inputs: Any) -> Any:
        """The transformer below the head; returns transformers' output with hidden states."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            if is_sharded(self.module):
                return self.module.states(**inputs)
            return self.module.base_model(**inputs)

    @cached_property
    def way(self) -> Way[Opened]:
        """How text is read while this model writes it: tried once, when it is first needed."""

        def own_cache(**_: int) -> ModuleDecoder:
            return ModuleDecoder(self.body, self.module.config, self._known)

        with self.whole(), evaluating(self):
            return quickest(self, self._ways(own_cache), written)

    @cached_property
    def pages(self) -> Way[Opens]:
        """How text is read whose end may be read anew: tried once, when it is first needed."""

        def own_cache(*, rows: int, **_: int) -> RowsDecoder:
            return RowsDecoder(
                self.body, self.module.config, self._known, rows, last=self.context - 1
            )

        with self.whole(), evaluating(self):
            return quickest(self, self._ways(own_cache), reread)

    def _ways(self, own_cache: Callable[..., Any]) -> list[Way[Any]]:
        """In the order of their speed."""
        ways: list[Way[Any]] = [
            Way("its own cache", lambda: own_cache),
            Way(UNCACHED, lambda: lambda **_: FullDecoder(self._behind)),
        ]
        written_out = Way("a written-out step", self._written_out)
        with self.plain():
            return [written_out, *ways] if decodes(self.module) else ways

    @property
    def _known(self) -> frozenset[str]:
        """Arguments of the body."""
        return frozenset(signature(self.module.base_model.forward).parameters)

    def _written_out(self) -> Callable[..., Decoder]:
        """What begins batches that share what is made of the weights."""
        dtype = torch.bfloat16 if self.autocast else self.module.dtype
        with self.plain():
            return Decoder(self.module, rows=0, length=0, dtype=dtype).again

    def _behind(self, texts: Sequence[Sequence[int]], count: int) -> Tensor:
        """Hidden states behind the last tokens of texts [B, T, D]; zeros beyond the context."""
        # What follows a text does not matter, but a position is scored for what follows it.
        cut = [text[: self.context - 1] for text in texts]
        kept = [max(1, count - len(text) + len(end)) for text, end in zip(texts, cut, strict=True)]
        parts = [len(text) - width + 1 for text, width in zip(cut, kept, strict=True)]
        batch = self.batch(
            [text[:part] for text, part in zip(cut, parts, strict=True)],
            [[*text[part:], self.end_id] for text, part in zip(cut, parts, strict=True)],
        )
        found = self.hidden(batch)
        states = found.new_zeros(len(texts), count, found.shape[-1])
        for row, state in zip(states, found.split(kept), strict=True):
            row[: len(state)] = state
        return states

    def prompt_length(self, example: Example) -> int:
        """Tokens of a prompt in this model's format."""
        return len(self.prompts.prompt_ids(example))

    def reference_ids(self, example: Example) -> tuple[int, ...]:
        """Token ids of the reference response, closed by the end token where the text ends."""
        ids = self.prompts.reference_ids(example)
        return (*ids, self.end_id) if example.closed else ids

    def batch(self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Batch:
        """Prompts and responses as one padded batch on this model's device."""
        return self.form.collate(prompts, responses, pad_id=self.end_id, device=self.device)

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states at the packed positions [N, D], each predicting one target."""
        laid = self.form.lay_out(batch)
        with where_read(self.narrowed, laid.places, among=laid.among):
            return self.form.hidden(self.body, laid)

    @property
    def form(self) -> Form:
        """How prompt and response go through the body."""
        shares = end_to_end.shares(self.module, drops=self.drops)
        return DecoderOnly(packs=self.packs, shares=shares)

    @property
    def packs(self) -> bool:
        """Whether the attention implementation takes rows end to end instead of padded."""
        return self.module.config._attn_implementation in PACKING

    @property
    def padded_parameters(self) -> int:
        """Numbers that every token of padding is multiplied with."""
        return 0 if self.packs else self.active_parameters

    @cached_property
    def active_parameters(self) -> int:
        """Numbers in the body without its embedding: what every token is multiplied with."""
        body = self.module.base_model
        embedding = body.get_input_embeddings().weight.numel()
        return sum(part.numel() for part in body.parameters()) - embedding

    def wait(self) -> None:
        """Return when all work on an accelerator is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def parameters(self) -> list[nn.Parameter]:
        """Parameters that may learn."""
        return [p for p in self.module.parameters() if p.requires_grad]

    @property
    def frozen(self) -> dict[str, nn.Parameter]:
        """Parameters that never learn, by every name that they have."""
        named = self.module.named_parameters(remove_duplicate=False)
        return {name: each for name, each in named if not each.requires_grad}

    @property
    def in_parts(self) -> bool:
        """Whether of what learns this process holds but a part."""
        return any(hasattr(each, "to_local") for each in self.parameters())

    def learn(self, *, dropout: bool) -> None:
        """Training mode, or, without dropout, the mode of writing.

        A layer that recomputes its activations does so only in training mode. It gets that for
        itself alone, and rates of its own (``dropout``, ``layerdrop``) become 0 for good.
        """
        self.module.train(dropout)
        self.drops = drops(self.module)
        if dropout:
            return
        for part in self.module.modules():
            if not getattr(part, "gradient_checkpointing", False):
                continue
            part.training = True
            for name, value in vars(part).items():
                if "drop" in name and isinstance(value, float):
                    setattr(part, name, 0.0)

    def plain(self) -> AbstractContextManager[None]:
        """Inside, the module is one of transformers alone, with the weights it stands for."""
        return nullcontext()

    def begin(self, seed: int) -> None:
        """Draw what learns and was not loaded: nothing, of a whole model."""

    @property
    def rests_on(self) -> Mapping[str, str] | None:
        """What tells weights that it needs and that never learn; None where all of them do."""
        return None

    def save(self, folder: Path, state: dict[str, Tensor] | None = None) -> None:
        """Write safetensors weights, configuration and tokenizer for ``from_pretrained``.

        Args:
            folder: where.
            state: all weights, where this process holds but a part of them.
        """
        # Where there is a state, what was learned is in it already.
        with self.plain() if state is None else nullcontext():
            self.module.save_pretrained(folder, safe_serialization=True, state_dict=state)
        self.tokenizer.save_pretrained(folder)


@contextmanager
def evaluating(model: LanguageModel) -> Iterator[None]:
    """Dropout off and no gradient inside; the mode that was there before afterwards."""
    training = model.module.training
    model.module.eval()
    try:
        with without_gradient(model.module):
            yield
    finally:
        model.module.train(training)
