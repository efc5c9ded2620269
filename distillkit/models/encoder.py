"""Texts as vectors: any encoder of transformers, the mean of its last hidden states."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from distillkit.models.folder import check_folder, check_size, check_weights, one_sentence
from distillkit.models.identity import digest_of

LONGEST = 512
"""Tokens that are read of a text, where the encoder's tokenizer does not say less."""


class Encoder:
    """Embeds texts as the sentence-transformers models do that take means of tokens.

    Args:
        name: hub name or folder; safetensors weights.
        device: where it runs.

    Raises:
        ModelError: it cannot be loaded.

    Attributes:
        digest: of its weights.
    """

    def __init__(self, name: str, *, device: torch.device) -> None:
        logging.disable_progress_bar()
        field = "metric.similarity.encoder"
        check_folder(field, name, name)
        with one_sentence(field, name):
            check_size(field, name, name, auto=AutoModel, dtype=torch.float32)
            self._tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            self._module, found = AutoModel.from_pretrained(
                name,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        check_weights(field, name, self._module, found)
        self._module.to(device).eval()
        self.digest = digest_of(self._module)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1 [n, D], fp32."""
        read = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=min(LONGEST, self._tokenizer.model_max_length),
            return_tensors="pt",
        ).to(self._module.device)
        with torch.inference_mode():
            hidden = self._module(**read).last_hidden_state.float()
        mask = read["attention_mask"][:, :, None]
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp_min(1)
        return nn.functional.normalize(mean, dim=-1).cpu().numpy()
