"""Tiny real transformers models of several families, and a bigram table as a scorer."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from distillkit.core.types import Batch, Example, Message
from distillkit.models.head import Head
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import EMBEDDED, load
from distillkit.models.pretrained import DType, Pretrained, PromptStyle, Student
from distillkit.opinions.states import StatesOpinion

ENTRIES = 382
"""Entries of the tokenizer that all tiny models share."""

TOKENIZER = EMBEDDED / "student"
CPU = torch.device("cpu")
SPREAD = 0.4
"""Scale of the initial weights: large enough for distributions that are far from uniform."""


def _modern(cls: type[PreTrainedConfig], **extra: Any) -> Callable[..., PreTrainedConfig]:
    """A family with Llama's field names."""

    def config(**shape: Any) -> PreTrainedConfig:
        usual = {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "initializer_range": SPREAD,
        }
        return cls(**{**usual, **extra, **shape})

    return config


def _gpt2(**shape: Any) -> PreTrainedConfig:
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return GPT2Config(
        n_embd=16, n_layer=2, n_head=2, initializer_range=SPREAD, **{**dropouts, **shape}
    )


def _opt(word_embed_proj_dim: int) -> Callable[..., PreTrainedConfig]:
    def config(**shape: Any) -> PreTrainedConfig:
        return OPTConfig(
            hidden_size=16,
            word_embed_proj_dim=word_embed_proj_dim,
            ffn_dim=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            init_std=SPREAD,
            **{"dropout": 0.0, **shape},
        )

    return config


_SLIDING = {"sliding_window": 4, "head_dim": 8, "final_logit_softcapping": 2.0}

FAMILIES: dict[str, Callable[..., PreTrainedConfig]] = {
    "llama": _modern(LlamaConfig),
    "qwen2": _modern(Qwen2Config),
    "qwen3": _modern(Qwen3Config, head_dim=12),
    "mistral": _modern(MistralConfig, sliding_window=None),
    "gpt2": _gpt2,
    "gemma2": _modern(Gemma2Config, **_SLIDING),
    "gemma3": _modern(Gemma3TextConfig, **_SLIDING),
    "opt": _opt(16),
    "opt_projected": _opt(8),
    "cohere": _modern(CohereConfig, logit_scale=0.3),
    "granite": _modern(GraniteConfig, logits_scaling=3.0),
}
"""Configurations by name; every field may be overridden."""


def example(question: str, reference: str = "", *, name: str = "") -> Example:
    """A one-turn example whose id is its name, or its question."""
    return Example(id=name or question, prompt=(Message("user", question),), reference=reference)


def save(
    folder: Path,
    family: str = "llama",
    *,
    vocab_size: int | None = None,
    tied: bool = True,
    context: int = 64,
    seed: int = 0,
    tokenizer: Any = None,
    **shape: Any,
) -> Path:
    """Write a random model and a tokenizer, as ``from_pretrained`` reads them.

    Args:
        folder: where to.
        family: a key of ``FAMILIES``.
        vocab_size: rows of the head, those beyond the tokenizer are padding; none if None.
        tied: whether head and embedding are one tensor.
        context: most positions.
        seed: of the weights.
        tokenizer: the embedded one if None.
        shape: other fields of the family's configuration.
    """
    # AutoTokenizer gives a folder of this type Qwen's own class, which adds an entry of its own.
    entries = ENTRIES + 1 if family == "qwen2" else ENTRIES
    config = FAMILIES[family](
        vocab_size=vocab_size or entries,
        tie_word_embeddings=tied,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        **shape,
    )
    torch.manual_seed(seed)
    module = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    module.save_pretrained(folder)
    (tokenizer or AutoTokenizer.from_pretrained(TOKENIZER)).save_pretrained(folder)
    return folder


def build(
    family: str = "llama",
    *,
    side: type[Pretrained] = Student,
    prompt: PromptStyle = PromptStyle.plain,
    dtype: DType = DType.auto,
    precision: str = "fp32",
    **shape: Any,
) -> LanguageModel:
    """A random tiny model, written by :func:`save` and loaded as a run loads it."""
    with TemporaryDirectory() as folder:
        save(Path(folder), family, **shape)
        source = side(name=folder, prompt=prompt, dtype=dtype)
        return load(source, device=CPU, precision=precision)


def gradients(model: LanguageModel) -> dict[str, Tensor]:
    """Copies of the gradients by parameter name, zeros where there is none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.module.named_parameters()
    }


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Norm of the difference of two gradients over the norm of the second."""
    difference = sum((found[name].double() - expected[name]).square().sum() for name in expected)
    norm = sum(tensor.double().square().sum() for tensor in expected.values())
    return float((difference / norm).sqrt())


class TableModel:
    """A bigram model: the next token's logits are the previous token's row of a table.

    Args:
        table: logits [V, V] of the next token (column) after the previous one (row).
        rows: rows of the head; those beyond V are padding that predicts with ``padding``.
        padding: logit of every padding row after every token.
    """

    def __init__(self, table: Tensor, *, rows: int = 0, padding: float = 0.0) -> None:
        entries = len(table)
        weight = torch.full((max(rows, entries), entries), padding, dtype=table.dtype)
        weight[:entries] = table.T
        self.weight = nn.Parameter(weight)
        self.states = nn.Parameter(torch.eye(entries, dtype=table.dtype))
        self.head = Head(weight=self.weight, bias=None, vocabulary=entries)

    def hidden(self, batch: Batch) -> Tensor:
        """One-hot rows of the tokens that precede the targets [N, V]."""
        return self.states[batch.tokens[batch.rows, batch.columns]]


def opinion(teacher: Any, batch: Batch) -> StatesOpinion:
    """What a teacher thinks of a batch in its own format."""
    with torch.no_grad():
        return StatesOpinion(teacher.hidden(batch), batch.targets, teacher)
