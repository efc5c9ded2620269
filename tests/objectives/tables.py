"""Two bigram tables, a batch of two rows, and what each table says at each position."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distillkit.core.types import Batch
from distillkit.models.forms.decoder_only import DecoderOnly
from distillkit.objectives.base import Scored
from tests.tiny import CPU, TableModel, opinion

ENTRIES = 6
RESPONSES = [[1, 2, 1], [5, 0, 3, 3, 1]]
PROMPTS = [[4, 3, 2], [0]]
OTHER_PROMPTS = [[2], [1, 1, 0, 0]]
"""Another format of the same prompts; the last token of each is the same."""

PREVIOUS = [2, 1, 2, 0, 5, 0, 3, 3]
"""The token before each packed target, read off the rows by hand."""
TARGETS = [1, 2, 1, 5, 0, 3, 3, 1]
WEIGHTS = torch.tensor([0.05, 0.1, 0.2, 0.1, 0.15, 0.05, 0.25, 0.1])


def table(seed: int) -> Tensor:
    """Random logits of a bigram table, exact in fp32."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(ENTRIES, ENTRIES, generator=generator)


def batch(prompts: list[list[int]] = PROMPTS) -> Batch:
    """The responses after prompts of one format."""
    return DecoderOnly().collate(prompts, RESPONSES, pad_id=1, device=CPU)


def scored(teacher: TableModel | None = None) -> Scored:
    """The batch, and what a teacher thinks of its own, with weights that differ everywhere."""
    heard = None if teacher is None else opinion(teacher, batch(OTHER_PROMPTS))
    return Scored(student=batch(), weights=WEIGHTS, opinion=heard)


def at_positions(logits: Tensor) -> NDArray[np.float64]:
    """A table's logits at the packed positions [N, V]."""
    return logits.double().numpy()[PREVIOUS]
