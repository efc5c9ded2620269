"""Prompt and response as one padded row, the response predicted from the columns before it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.core.types import Batch
from distillkit.models.forms.base import Body


@dataclass(frozen=True, slots=True)
class DecoderOnly:
    """Causal language models; see :class:`distillkit.models.forms.base.Form`."""

    packs: bool = False
    """Rows go through the body end to end instead of padded, which its attention implementation
    must know how to keep apart."""

    def collate(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        *,
        pad_id: int,
        device: torch.device,
    ) -> Batch:
        """Padded on the right.

        Positions are found from lengths alone, never from token ids: an end-of-sequence token that
        equals the padding token is still a target.
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
        return Batch(tokens.to(device), mask.to(device), where, which, wanted)

    def places(self, batch: Batch) -> tuple[Tensor, int]:
        """Index of the packed positions among all that go through the body [N], and their count."""
        if not self._unpads(batch):
            return batch.rows * batch.tokens.shape[1] + batch.columns, batch.tokens.numel()
        real = batch.mask.flatten()
        place = real.cumsum(0).view(batch.mask.shape) - 1
        return place[batch.rows, batch.columns], int(real.sum())

    def hidden(self, body: Body, batch: Batch) -> Tensor:
        """What follows a text changes none of its states, so no mask has to hide padding.

        :func:`distillkit.models.reading.check_scoring` refuses models of which that is not true,
        and attention is quicker without a mask.
        """
        given = {"input_ids": batch.tokens}
        if self._unpads(batch):
            real = batch.mask.bool()
            # Positions that begin anew keep the rows apart.
            positions = (real.cumsum(-1) - 1)[real]
            given = {"input_ids": batch.tokens[real][None], "position_ids": positions[None]}
        output = body(**given, use_cache=False)
        return output.last_hidden_state.flatten(0, 1).index_select(0, self.places(batch)[0])

    def _unpads(self, batch: Batch) -> bool:
        return self.packs and not bool(batch.mask.all())
