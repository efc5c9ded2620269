"""Loads one model, and refuses one whose numbers could not be trusted."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.memory import keep_freed_pages
from distillkit.distributed.holding import own_class
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.adapted import AdaptedModel
from distillkit.models.adapter_folder import through_adapter
from distillkit.models.adapters import inject
from distillkit.models.blocks import keep_less
from distillkit.models.embedding import add_in_place
from distillkit.models.folder import check_folder, check_size, check_weights, one_sentence
from distillkit.models.head import Head
from distillkit.models.language_model import Draft, LanguageModel
from distillkit.models.linear import keep_fewer_products, lay_for_reading, quicken
from distillkit.models.pretrained import DType, Pretrained, Student, Teacher
from distillkit.models.prompts import PromptFormat
from distillkit.models.sharding import deal_out, read_in_parts
from distillkit.models.shared_ids import check_ids
from distillkit.models.tokenizer_files import load_tokenizer
from distillkit.models.trial import try_out
from distillkit.models.vocabulary import real_ids

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


def load(
    source: Pretrained,
    *,
    device: torch.device,
    precision: str,
    placement: Placement = ALONE,
) -> LanguageModel:
    """Load one side with its draft, if any, check it, and put it on the device.

    The head is checked against the model's own forward pass, and the draft against the model's ids.

    Args:
        source: what the user asked for.
        device: from :func:`pick_device`.
        precision: ``fp32`` or ``bf16``.
        placement: the processes that hold it; all of them load.

    Raises:
        ModelError: the model is missing or damaged, or its logits are not what its head gives.
    """
    side = "student" if isinstance(source, Student) else "teacher"
    learns = isinstance(source, Student)
    dtype = dtype_of(source.dtype, precision, learns=learns)
    autocast = precision == "bf16" and dtype == torch.float32
    read = partial(_read, dtype=dtype, placement=placement, device=device, whole=autocast)
    module, tokenizer = through_adapter(source, read, side=side, location=locate(source.name))
    keep_fewer_products(sum(each.numel() for each in module.parameters()))
    module.to(device)
    module.requires_grad_(isinstance(source, Student) and not source.adapter.rank)
    if placement.IN_STEP:
        deal_out(module, placement, narrow=autocast)
    adapters = inject(module, source, whole=partial(placement.whole, module))
    module.train(learns)
    if isinstance(source, Student) and source.gradient_checkpointing:
        module.gradient_checkpointing_enable({"use_reentrant": False})
    model = _model(source, module, tokenizer, side=side, autocast=autocast)
    model.placement = placement
    _confine(model, side)
    try_out(model, side, source.name, learns=learns)
    placement.reshard(module)
    keep_freed_pages()
    quicken(module)
    keep_less(module)
    if not placement.IN_STEP:
        add_in_place(module)
        if not learns:
            lay_for_reading(module)
    if isinstance(source, Teacher) and source.draft is not None:
        model.draft = _draft(source, model, device=device, precision=precision)
    return model if adapters is None else AdaptedModel(model, adapters)


def _model(
    source: Pretrained, module: Any, tokenizer: Any, *, side: str, autocast: bool
) -> LanguageModel:
    return LanguageModel(
        module,
        head=_head(module, side, narrow=autocast),
        prompts=PromptFormat(
            tokenizer,
            source.prompt,
            template=source.template,
            side=side,
            special_tokens_in_text=source.special_tokens_in_text,
        ),
        stop_ids=_stop_ids(module, tokenizer, side),
        context=getattr(module.config.get_text_config(), "max_position_embeddings", 1 << 30),
        autocast=autocast,
    )


def load_draft(
    source: Pretrained,
    target: LanguageModel,
    *,
    names: tuple[str, str],
    device: torch.device,
    precision: str,
) -> LanguageModel:
    """A model that proposes what another one writes, and gives every token the same id.

    Args:
        source: what the user asked for.
        target: has the last word.
        names: of both in error messages, the draft's first.
        device: from :func:`pick_device`.
        precision: ``fp32`` or ``bf16``.

    Raises:
        ModelError: it is missing or damaged, or its ids are others.
    """
    try:
        draft = load(source, device=device, precision=precision)
    except ModelError as error:
        # Loaded as a teacher is, but named by another field.
        raise ModelError(str(error).replace("teacher.name", names[0])) from error
    check_ids(draft, target, names=names)
    return draft


def _draft(
    source: Teacher, target: LanguageModel, *, device: torch.device, precision: str
) -> Draft:
    assert source.draft is not None
    named = replace(source, name=source.draft, revision=None, draft=None)
    names = ("teacher.draft", "teacher.name")
    model = load_draft(named, target, names=names, device=device, precision=precision)
    return Draft(model, source.proposals)


def locate(name: str) -> str:
    """A local folder for ``embedded:...``, else the name as typed."""
    return str(EMBEDDED / name.removeprefix("embedded:")) if name.startswith("embedded:") else name


def _read(
    source: Pretrained,
    side: str,
    *,
    dtype: torch.dtype,
    placement: Placement,
    device: torch.device,
    whole: bool,
) -> tuple[Any, Any]:
    """The transformers model, with all the weights that are its process's, and its tokenizer."""
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
        check_size(
            field,
            source.name,
            location,
            auto=AutoModelForCausalLM,
            dtype=dtype,
            copies=placement.copies,
            **shared,
        )
    tokenizer = load_tokenizer(field, source.name, location, **shared)
    with one_sentence(field, source.name):
        parts = {} if whole else read_in_parts(location, placement, device=device, **shared)
        module, found = AutoModelForCausalLM.from_pretrained(
            location,
            output_loading_info=True,
            dtype=dtype,
            attn_implementation=source.attention,
            use_safetensors=True,
            # Reported below, in a sentence.
            ignore_mismatched_sizes=True,
            **shared,
            **parts,
        )
    check_weights(field, source.name, module, found)
    return module, tokenizer


def dtype_of(asked: DType, precision: str, *, learns: bool) -> torch.dtype:
    """Type of a model's weights; those that learn are fp32 unless asked for otherwise."""
    if asked is not DType.auto:
        return getattr(torch, asked)
    return torch.float32 if learns or precision == "fp32" else torch.bfloat16


def _head(module: Any, side: str, *, narrow: bool) -> Head:
    layer = module.get_output_embeddings()
    config = module.config.get_text_config()
    if layer is None:
        raise ModelError(
            f"{side}.name: the model has no head that gives logits. Choose a causal language model."
        )
    if own_class(layer) is not nn.Linear:
        raise ModelError(
            f"{side}.name: the head is a {type(layer).__name__}, not a plain linear layer. The "
            "loss reads the head's weight and would not see an adapter on it. Merge the adapter "
            "into the model first, or leave the head out of it."
        )
    divisor = getattr(config, "logits_scaling", None)
    return Head(
        weight=layer.weight,
        bias=getattr(layer, "bias", None),
        vocabulary=len(layer.weight),
        scale=1 / divisor if divisor else getattr(config, "logit_scale", None) or 1.0,
        softcap=getattr(config, "final_logit_softcapping", None),
        narrow=narrow,
    )


def _confine(model: LanguageModel, side: str) -> None:
    """Cut the head to the ids that tokens have; know which cannot be read or written."""
    rows = len(model.module.get_output_embeddings().weight)
    model.confine(real_ids(model.tokenizer, rows, side=side))
    rows = len(model.module.get_input_embeddings().weight)
    ids = model.tokenizer.get_vocab().values()
    model.prompts.unread = frozenset(each for each in ids if each >= rows)


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
