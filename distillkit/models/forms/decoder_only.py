"""Prompt and response as one padded row, the response predicted from the columns before it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.core.types import Batch
from distillkit.models.forms.base import Body, Laid


@dataclass(frozen=True, slots=True)
class DecoderOnly:
    """Causal language models; see :class:`distillkit.models.forms.base.Form`."""

    packs: bool = False
    """Rows go through the body end to end instead of padded, which its attention implementation
    must know how to keep apart."""
    shares: bool = False
    """Of rows that begin with one prompt, all but the first begin behind it: positions that go back
    to its end say so, and the attention implementation must know that too."""

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

    def lay_out(self, batch: Batch) -> Laid:
        """Padded, or tokens that are read alone, each prompt once; the last token is read by none.

        What follows a text changes none of its states, so no mask has to hide padding.
        :func:`distillkit.models.reading.check_scoring` refuses models of which that is not true,
        and attention is quicker without a mask.
        """
        rows, width = len(batch.tokens), max(1, batch.tokens.shape[1] - 1)
        tokens, device = batch.tokens[:, :width], batch.tokens.device
        padded = Laid({"input_ids": tokens}, batch.rows * width + batch.columns, tokens.numel())
        if not self.packs:
            return padded
        begins, ends = _ends(batch, "amin"), _ends(batch, "amax")
        first = _first_with_its_prompt(batch, begins) if self.shares else range(rows)
        if [*first] == [*range(rows)] and bool((ends == width - 1).all()):
            return padded
        column = torch.arange(width, device=device).expand(rows, width)
        leads = torch.tensor([*first], device=device)
        follows = leads != torch.arange(rows, device=device)
        read = (column <= ends[:, None]) & ((column > begins[:, None]) | ~follows[:, None])
        order = leads.argsort(stable=True)
        read, column = read[order], column[order]
        # A follower's first token is predicted where its leader's is.
        row = torch.where(batch.columns > begins[batch.rows], batch.rows, leads[batch.rows])
        place = read.flatten().cumsum(0).view(rows, width) - 1
        return Laid(
            # Positions that begin anew keep the rows apart.
            {"input_ids": tokens[order][read][None], "position_ids": column[read][None]},
            place[order.argsort()[row], batch.columns],
            int(read.sum()),
        )

    def hidden(self, body: Body, laid: Laid) -> Tensor:
        """Last hidden states at the packed positions [N, D], each predicting one target."""
        output = body(**laid.given, use_cache=False)
        return output.last_hidden_state.flatten(0, 1).index_select(0, laid.places)


def _ends(batch: Batch, which: str) -> Tensor:
    """Column of each row's first (``amin``) or last (``amax``) packed position [B]."""
    none = batch.columns.new_zeros(len(batch.tokens))
    return none.scatter_reduce(0, batch.rows, batch.columns, which, include_self=False)


def _first_with_its_prompt(batch: Batch, begins: Tensor) -> list[int]:
    """For each row the first one that begins with the same prompt."""
    seen: dict[tuple[int, ...], int] = {}
    rows = zip(batch.tokens.tolist(), begins.tolist(), strict=True)
    prompts = [tuple(tokens[: begin + 1]) for tokens, begin in rows]
    return [seen.setdefault(prompt, row) for row, prompt in enumerate(prompts)]
