"""Loads teacher and student, and refuses a pair whose numbers could not be trusted."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.memory import keep_freed_pages
from distillkit.models.folder import check_folder, check_size, check_weights, one_sentence
from distillkit.models.head import Head
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.linear import quicken
from distillkit.models.pretrained import DType, Pretrained, Student
from distillkit.models.prompts import PromptFormat
from distillkit.models.reading import PROBE, check_scoring, check_training, passes
from distillkit.models.saving import rehearse

EMBEDDED = Path(__file__).parent / "embedded"


def pick_device(asked: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` as a device that exists here.

    Raises:
        ConfigError: the name is unknown or this machine has no such device.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise ConfigError(f"device={asked} is unknown. Use auto, cpu, cuda or cuda:0.") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device={asked} is not supported. Use auto, cpu, cuda or cuda:0.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device={asked}, but {torch.cuda.device_count()} CUDA devices are visible here. "
            "Use device=cpu or device=auto."
        )
    return device


def load(source: Pretrained, *, device: torch.device, precision: str) -> LanguageModel:
    """Load one side, check its head against its own forward pass, and put it on the device.

    Args:
        source: what the user asked for.
        device: from :func:`pick_device`.
        precision: ``fp32`` or ``bf16``.

    Raises:
        ModelError: the model is missing or damaged, or its logits are not what its head gives.
    """
    side = "student" if isinstance(source, Student) else "teacher"
    learns = isinstance(source, Student)
    module, tokenizer = _read(source, side, _dtype(source.dtype, precision, learns=learns))
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{side}.name={source.name}: the tokenizer has no end-of-sequence token.")
    module.to(device)
    module.requires_grad_(learns)
    module.train(learns)
    if isinstance(source, Student) and source.gradient_checkpointing:
        module.gradient_checkpointing_enable({"use_reentrant": False})
    autocast = precision == "bf16" and module.dtype == torch.float32
    model = LanguageModel(
        module,
        head=_head(module, len(tokenizer), side, narrow=autocast),
        prompts=PromptFormat(tokenizer, source.prompt, template=source.template, side=side),
        stop_ids=_stop_ids(module, tokenizer, side),
        context=getattr(module.config.get_text_config(), "max_position_embeddings", 1 << 30),
        autocast=autocast,
    )
    with passes(side, source.name, module):
        _check_head(model, side)
        check_scoring(model, side)
        if learns:
            check_training(model)
            model.notes = rehearse(module, tokenizer, f"{side}.name={source.name}")
    keep_freed_pages()
    quicken(module)
    return model


def locate(name: str) -> str:
    """A local folder for ``embedded:...``, else the name as typed."""
    return str(EMBEDDED / name.removeprefix("embedded:")) if name.startswith("embedded:") else name


def _merges(tokenizer: Any) -> Any:
    """The rules by which a fast tokenizer joins pieces; None for a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend and json.loads(backend.to_str())["model"].get("merges")


def identity(source: Pretrained, model: LanguageModel) -> dict[str, str | None]:
    """What tells these weights from others: the hub commit, or a digest of the tensors."""
    commit = getattr(model.module.config, "_commit_hash", None)
    return {"name": source.name, "commit": commit, "digest": digest_of(model.module)}


def digest_of(module: Any) -> str:
    """The hub commit of a transformers model, else 16 hex digits of its tensors."""
    commit = getattr(module.config, "_commit_hash", None)
    if commit is not None:
        return str(commit)
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def check_pair(teacher: LanguageModel, student: LanguageModel) -> None:
    """Teacher and student must give every token the same id.

    Equal sizes are not enough: two checkpoints can share a width and encode differently.

    Raises:
        ModelError: the vocabularies or the encodings of a probe text differ.
    """
    ours, theirs = student.tokenizer, teacher.tokenizer
    left, right = ours.get_vocab(), theirs.get_vocab()
    if left != right:
        differing = sorted(left.items() ^ right.items(), key=lambda item: item[1])
        raise ModelError(
            f"teacher.name and student.name have different tokenizers ({len(right)} and "
            f"{len(left)} entries, first difference {differing[0][0]!r}). "
            "Choose two models of one family."
        )
    if ours.encode(PROBE) != theirs.encode(PROBE) or _merges(ours) != _merges(theirs):
        raise ModelError(
            "teacher.name and student.name share a vocabulary but split text differently. "
            "Choose two models of one family."
        )


def agree_on_the_end(teacher: LanguageModel, student: LanguageModel) -> list[str]:
    """Let both models stop at either's end tokens, and close references with the teacher's.

    A base student under an instruct teacher would otherwise never stop where the teacher does.

    Returns:
        A note for the user where the two differed.
    """
    if (teacher.end_id, teacher.stop_ids) == (student.end_id, student.stop_ids):
        return []
    teacher.stop_ids = student.stop_ids = teacher.stop_ids | student.stop_ids
    student.end_id = teacher.end_id
    student.module.generation_config.eos_token_id = sorted(student.stop_ids)
    ends = teacher.tokenizer.convert_ids_to_tokens(sorted(teacher.stop_ids))
    closing = teacher.tokenizer.convert_ids_to_tokens(teacher.end_id)
    return [
        f"teacher and student end their text differently: {' and '.join(ends)} may end a response "
        f"of either, and references are closed with {closing}"
    ]


def _read(source: Pretrained, side: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """The transformers model, with all its weights, and its tokenizer."""
    location = locate(source.name)
    shared: dict[str, Any] = {
        "revision": source.revision,
        "trust_remote_code": source.trust_remote_code,
    }
    # An error is one line: no bars beside it, and what a report would warn of is checked below.
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    field = f"{side}.name"
    check_folder(field, source.name, location)
    with one_sentence(field, source.name):
        check_size(field, source.name, location, auto=AutoModelForCausalLM, dtype=dtype, **shared)
        tokenizer = AutoTokenizer.from_pretrained(location, **shared)
        module, found = AutoModelForCausalLM.from_pretrained(
            location,
            output_loading_info=True,
            dtype=dtype,
            attn_implementation=source.attention,
            use_safetensors=True,
            # Reported below, in a sentence.
            ignore_mismatched_sizes=True,
            **shared,
        )
    check_weights(field, source.name, module, found)
    return module, tokenizer


def _dtype(asked: DType, precision: str, *, learns: bool) -> torch.dtype:
    if asked is not DType.auto:
        return getattr(torch, asked)
    return torch.float32 if learns or precision == "fp32" else torch.bfloat16


def _head(module: Any, vocabulary: int, side: str, *, narrow: bool) -> Head:
    layer = module.get_output_embeddings()
    config = module.config.get_text_config()
    if layer is None or layer.weight.shape[0] < vocabulary:
        rows = "no" if layer is None else str(layer.weight.shape[0])
        raise ModelError(
            f"{side}.name: the head has {rows} rows for a tokenizer of {vocabulary} entries. "
            "Use the tokenizer that the model was trained with."
        )
    if type(layer) is not nn.Linear:
        raise ModelError(
            f"{side}.name: the head is a {type(layer).__name__}, not a plain linear layer. The "
            "loss reads the head's weight and would not see an adapter on it. Merge the adapter "
            "into the model first, or leave the head out of it."
        )
    divisor = getattr(config, "logits_scaling", None)
    return Head(
        weight=layer.weight,
        bias=getattr(layer, "bias", None),
        vocabulary=vocabulary,
        scale=1 / divisor if divisor else getattr(config, "logit_scale", None) or 1.0,
        softcap=getattr(config, "final_logit_softcapping", None),
        narrow=narrow,
    )


def _stop_ids(module: Any, tokenizer: Any, side: str) -> frozenset[int]:
    """End tokens of the tokenizer and of the generation settings (Llama 3 has three)."""
    settings = getattr(module, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    several = [] if ends is None else ends if isinstance(ends, list) else [ends]
    rows = module.get_output_embeddings().weight.shape[0]
    for end in several:
        if type(end) is not int or not 0 <= end < rows:
            raise ModelError(
                f"{side}.name: eos_token_id of generation_config.json names {end!r}, and a token "
                f"of this model is a number from 0 to {rows - 1}. Mend the file."
            )
    return frozenset({tokenizer.eos_token_id, *several})


def _check_head(model: LanguageModel, side: str) -> None:
    """The head applied to hidden states must give the logits of the model's own forward pass."""
    probe = model.tokenizer.encode(PROBE)[:16] or [model.end_id]
    ids = torch.tensor([probe], device=model.device)
    with evaluating(model):
        expected = (
            model.module(input_ids=ids, use_cache=False)
            .logits[0, :, : model.head.vocabulary]
            .float()
        )
        found = model.head.logits(model.body(input_ids=ids, use_cache=False).last_hidden_state[0])
    if not expected.isfinite().all():
        raise ModelError(
            f"{side}.name: the logits are not finite. The weights are damaged, or {side}.dtype="
            "float32 is needed."
        )
    tolerance = 1e-3 if model.module.dtype == torch.float32 and not model.autocast else 5e-2
    if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance * expected.abs().max()):
        raise ModelError(
            f"{side}.name: {type(model.module).__name__} computes its logits in a way "
            "unknown to distillkit, so its loss would be wrong. Please report it."
        )
