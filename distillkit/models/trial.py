"""What a model goes through before anybody trusts its numbers: a few passes over a few tokens."""

import torch

from distillkit.core.errors import ModelError
from distillkit.distributed.holding import is_sharded
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.reading import PROBE, check_scoring, check_training, narrow, passes, unpad
from distillkit.models.saving import rehearse


def try_out(model: LanguageModel, side: str, name: str, *, learns: bool) -> None:
    """Check how a model reads, learns and is saved; note what was mended.

    Args:
        model: as it was loaded.
        side: ``teacher`` or ``student``.
        name: as the user typed it.
        learns: whether it is to be trained and saved.

    Raises:
        ModelError: its logits are not what its head gives, a text's states depend on what follows
            it, or it cannot be trained or saved.
    """
    with passes(side, name, model.module):
        _check_head(model, side)
        check_scoring(model, side)
        narrow(model)
        unpad(model)
        if learns:
            check_training(model)
            model.notes = rehearse(model.module, model.tokenizer, f"{side}.name={name}")


def _check_head(model: LanguageModel, side: str) -> None:
    """The head applied to hidden states must give the logits of the model's own forward pass."""
    probe = model.tokenizer.encode(PROBE)[:16] or [model.end_id]
    ids = torch.tensor([probe], device=model.device)
    with evaluating(model):
        # Layers that were dealt out to compute in bf16 do so for whoever calls them.
        narrow = model.autocast and is_sharded(model.module)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=narrow):
            logits = model.module(input_ids=ids, use_cache=False).logits
        expected = logits[0, :, : model.head.vocabulary].float()
        finite, largest = expected.isfinite().all(), expected.abs().max()
        expected = model.head.masked(expected)
        found = model.head.logits(model.body(input_ids=ids, use_cache=False).last_hidden_state[0])
    if not finite:
        raise ModelError(
            f"{side}.name: the logits are not finite. The weights are damaged, or {side}.dtype="
            "float32 is needed."
        )
    tolerance = 1e-3 if model.module.dtype == torch.float32 and not model.autocast else 5e-2
    if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance * largest):
        raise ModelError(
            f"{side}.name: {type(model.module).__name__} computes its logits in a way "
            "unknown to distillkit, so its loss would be wrong. Please report it."
        )
