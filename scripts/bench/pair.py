"""The pairs that whole steps are timed on, random Qwen2 models or real ones, and their texts."""

import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

from distillkit.core.types import Split
from distillkit.datasets.arithmetic import Arithmetic

HEAD_WIDTH = 64
REAL = (Path("outputs/models/smollm2_135m_cut_10"), Path("outputs/models/smollm2_135m"))
"""Student and teacher that ``make smollm`` leaves."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one step."""

    lengths: tuple[int, ...] = (64,) * 8
    """Response tokens of each row; those of ``limit`` are cut, others close with the end token."""
    limit: int = 64
    """Most response tokens."""
    prompt: int = 65
    """Tokens of every prompt."""
    vocabulary: int = 4096
    student: tuple[int, int] = (256, 4)
    """Width and layers."""
    teacher: tuple[int, int] = (512, 8)
    """Width and layers."""
    divergence: str = "jsd"
    """``jsd`` with beta 0.5, or ``reverse_kl``."""
    precision: str = "fp32"
    """``fp32``, or ``bf16`` for the models' own products."""
    group: int = 1
    """Responses of each prompt."""
    real: bool = False
    """Whether the models are those of ``REAL`` and the texts word problems of any length."""

    @property
    def tokens(self) -> int:
        """Response tokens of one step."""
        return sum(self.lengths)


def models_of(shape: Shape) -> list[Path]:
    """Folders of student and teacher."""
    if shape.real:
        return [*REAL]
    return folders(shape.vocabulary, shape.student, shape.teacher)


@cache
def folders(vocabulary: int, *sides: tuple[int, int]) -> list[Path]:
    """A folder for ``from_pretrained`` for each (width, layers), kept while the process lives."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(vocabulary)
    written = []
    for width, layers in sides:
        config = Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // HEAD_WIDTH),
            num_key_value_heads=max(1, width // HEAD_WIDTH // 2),
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        folder = Path(mkdtemp(prefix="distillkit-bench-"))
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        written.append(folder)
    return written


def _tokenizer(entries: int) -> PreTrainedTokenizerFast:
    """One token a byte, and unused ones up to the size wanted."""
    end = "<|endoftext|>"
    pieces = [end, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    # Not added behind, as users would: tens of thousands of those take seconds to load.
    pieces += [f"<{number}>" for number in range(entries - len(pieces))]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, pad_token=end)


def questions(shape: Shape, batches: int) -> list[str]:
    """Distinct texts of ``shape.prompt`` tokens, without the line break that ends each."""
    if shape.real:
        asked = Arithmetic(train=batches * len(shape.lengths)).examples(Split.train)
        return [example.question for example in asked]
    letters = string.ascii_lowercase
    texts = []
    for number in range(batches * len(shape.lengths)):
        head = f"{number:04d} "
        fill = "".join(letters[(number + place) % 26] for place in range(shape.prompt))
        texts.append((head + fill)[: shape.prompt - 1])
    return texts


class Ends:
    """Forces the end token where a row's preset length says so, and forbids it elsewhere.

    Call it once for every new token. Rows may be all of them, or those that have not ended, in
    order: engines differ in when they drop a finished row.
    """

    def __init__(self, shape: Shape, end_id: int) -> None:
        self.shape, self.end_id = shape, end_id
        self.place = 0

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits [rows, V] with the end token at minus infinity, or alone where it is due."""
        lengths, limit = self.shape.lengths, self.shape.limit
        if self.place == max(lengths):
            self.place = 0
        live = [length for length in lengths if length > self.place]
        self.place += 1
        if len(logits) not in (len(lengths), len(live)):
            raise ValueError(f"{len(logits)} rows write, of {len(lengths)} with {len(live)} live")
        due = [
            length == self.place < limit
            for length in (live if len(logits) == len(live) else lengths)
        ]
        logits = logits.clone()
        logits[:, self.end_id] = -torch.inf
        if any(due):
            rows = torch.tensor(due)
            logits[rows] = -torch.inf
            logits[rows, self.end_id] = 0.0
        return logits


def generating_with(ends: Ends, generate: Any) -> Any:
    """A model's ``generate`` of transformers that obeys the preset lengths."""

    def processor(_: Tensor, scores: Tensor) -> Tensor:
        return ends(scores)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        ends.place = 0
        return generate(*args, logits_processor=[processor], **kwargs)

    return wrapped
