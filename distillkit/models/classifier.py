"""Numbers that a sequence classifier or reward model of transformers gives to answers."""

from collections.abc import Sequence
from inspect import signature
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.types import Message
from distillkit.models.chat_template import ANSWER, QUESTION
from distillkit.models.classifying import Classifying
from distillkit.models.exchange import Exchanges, Row
from distillkit.models.folder import check_folder, check_size, check_weights, one_sentence


class Classifier:
    """Judges answers as the model would judge each alone, whatever stands beside it in a batch.

    Args:
        source: what the user asked for.
        device: where it runs.

    Raises:
        ModelError: it cannot be loaded, is no classifier, or cannot be read in batches.
        ConfigError: it has no such label.
    """

    def __init__(self, source: Classifying, *, device: torch.device) -> None:
        self._module, tokenizer = _read(source)
        self._module.to(device).eval()
        self._config = self._module.config.get_text_config()
        self._pad_id = self._config.pad_token_id
        self._known = set(signature(self._module.forward).parameters)
        self._label = _output(self._module.config.id2label, source)
        self._batch_size = source.batch_size
        longest = _longest(self._module, tokenizer, source.max_tokens)
        self._exchanges = Exchanges(tokenizer, source.form, longest=longest)
        if source.batch_size > 1:
            self._check_padding(source)

    def __call__(self, answers: Sequence[tuple[tuple[Message, ...], str]]) -> list[float]:
        """The number of the label for each prompt and answer, in their order.

        Raises:
            ModelError: an answer is longer than the model can read.
        """
        rows = [self._exchanges.row(prompt, answer) for prompt, answer in answers]
        # Rows of like length stand together, so that little is padding.
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
        found = [0.0] * len(rows)
        for start in range(0, len(rows), self._batch_size):
            places = order[start : start + self._batch_size]
            values = self._values(self._logits([rows[place] for place in places]))
            for place, value in zip(places, values.tolist(), strict=True):
                found[place] = value
        return found

    def _values(self, logits: Tensor) -> Tensor:
        kind = self._module.config.problem_type
        if logits.shape[1] > 1 and kind != "regression":
            several = kind == "multi_label_classification"
            logits = logits.sigmoid() if several else logits.softmax(-1)
        return logits[:, self._label]

    def _logits(self, rows: Sequence[Row]) -> Tensor:
        """The outputs of some rows [n, labels], fp32."""
        # Causal classifiers judge at the last token that is not the configuration's padding, and
        # others count positions by it, so what the tokenizer would pad with does not matter.
        pad_id = self._config.pad_token_id = self._padding(rows)
        read = {
            name: pad_sequence(
                [torch.tensor(row[name]) for row in rows],
                batch_first=True,
                padding_value=pad_id if name == "input_ids" else 0,
            ).to(self._module.device)
            for name in rows[0]
            if name in self._known
        }
        with torch.inference_mode():
            return self._module(**read).logits.float()

    def _padding(self, rows: Sequence[Row]) -> int:
        """The model's padding id; where it has none, one that no row ends with."""
        if self._pad_id is not None and self._pad_id >= 0:
            return int(self._pad_id)
        ends = {row["input_ids"][-1] for row in rows}
        return next(token for token in count() if token not in ends)

    def _check_padding(self, source: Classifying) -> None:
        """A short row must get the same beside a longer one as alone."""
        rows = [
            self._exchanges.row((Message("user", question),), answer)
            for question, answer in ((QUESTION, "7"), (3 * QUESTION, ANSWER))
        ]
        alone, beside = self._logits(rows[:1])[0], self._logits(rows)[0]
        tolerance = 1e-3 if self._module.dtype == torch.float32 else 5e-2
        # Damaged weights are told of where an example shows them.
        atol = float(tolerance * alone.abs().max().nan_to_num())
        if not torch.allclose(alone, beside, rtol=tolerance, atol=atol, equal_nan=True):
            raise ModelError(
                f"reward.name={source.name}: a {type(self._module).__name__} gives a text another "
                "number when a longer one stands beside it. Use reward.batch_size=1."
            )


def _read(source: Classifying) -> tuple[Any, Any]:
    """The transformers model, with all its weights, and its tokenizer."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    field, auto = "reward.name", AutoModelForSequenceClassification
    shared: dict[str, Any] = {"revision": source.revision, "trust_remote_code": False}
    check_folder(field, source.name, source.name)
    with one_sentence(field, source.name):
        dtype = getattr(torch, source.dtype, torch.bfloat16)
        check_size(field, source.name, source.name, auto=auto, dtype=dtype, **shared)
        tokenizer = AutoTokenizer.from_pretrained(source.name, **shared)
        module, found = auto.from_pretrained(
            source.name,
            dtype=str(source.dtype),
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            **shared,
        )
    if missing := found["missing_keys"]:
        raise ModelError(
            f"reward.name={source.name} is no classifier: it lacks weights, which would stay "
            f"random ({len(missing)}, first {min(missing)}). Give a model that was trained to "
            "classify or to reward."
        )
    check_weights(field, source.name, module, found)
    return module, tokenizer


def _output(labels: dict[int, str], source: Classifying) -> int:
    """The number of the output that counts."""
    if source.label is None and len(labels) == 1:
        return 0
    for number, label in labels.items():
        if source.label in (number, label):
            return number
    given = "null" if source.label is None else source.label
    told = ", ".join(f"{label} ({number})" for number, label in labels.items())
    raise ConfigError(
        f"reward.label={given} is no output of {source.name}, which has {told}. Give one of these."
    )


def _longest(module: Any, tokenizer: Any, asked: int | None) -> int:
    """Most tokens of a row: the least of what model, tokenizer and user say."""
    positions = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    for name, layer in module.named_modules():
        # RoBERTa and its kin number positions from behind their padding id.
        if name.endswith(".position_embeddings") and isinstance(layer, nn.Embedding):
            positions = layer.num_embeddings - (
                0 if layer.padding_idx is None else layer.padding_idx + 1
            )
    said = (positions, tokenizer.model_max_length, asked)
    # XLNet, which has no end, says -1.
    return int(min(limit for limit in said if limit is not None and limit > 0))
