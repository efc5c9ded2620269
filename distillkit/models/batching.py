"""Prompts and responses as padded tensors, and the packed positions that are scored."""

from collections.abc import Sequence

import torch

from distillkit.core.types import Batch


def collate(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    *,
    pad_id: int,
    device: torch.device,
) -> Batch:
    """Join prompts and responses, padded on the right.

    Positions are found from lengths alone, never from token ids: an end-of-sequence token that
    equals the padding token is still a target.

    Args:
        prompts: B prompts of token ids, none empty.
        responses: B responses of token ids.
        pad_id: any valid id; masked.
        device: where the tensors go.

    Returns:
        A batch whose packed positions run through the responses row by row.
    """
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
    tokens = torch.full((len(prompts), width), pad_id)
    mask = torch.zeros_like(tokens)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        whole = [*prompt, *response]
        tokens[row, : len(whole)] = torch.tensor(whole)
        mask[row, : len(whole)] = 1
        rows += [row] * len(response)
        # The hidden state one column before a token predicts it.
        columns += range(len(prompt) - 1, len(whole) - 1)
        targets += response
    where, which, wanted = (
        torch.tensor(part, dtype=torch.long, device=device) for part in (rows, columns, targets)
    )
    even = bool(mask.all())
    return Batch(tokens.to(device), mask.to(device), where, which, wanted, even=even)
