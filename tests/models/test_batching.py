"""Batching: positions by length, targets shifted by one, and rows that ignore their neighbours."""

import pytest
import torch
from torch import Tensor

from distillkit.models.forms.decoder_only import DecoderOnly
from tests.tiny import CPU, FAMILIES, build

PROMPTS = [[50, 60, 70, 80, 90, 100], [200], [300, 301, 302]]
RESPONSES = [[10, 11], [20, 21, 22, 23, 24], [30]]


def test_each_packed_column_is_the_one_before_its_target() -> None:
    """Trap 18: two rows of different prompt lengths, written out by hand."""
    batch = DecoderOnly().collate([[5, 6, 7], [8]], [[10, 11], [20, 21, 22]], pad_id=1, device=CPU)
    assert batch.tokens.tolist() == [[5, 6, 7, 10, 11], [8, 20, 21, 22, 1]]
    assert batch.mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.rows.tolist() == [0, 0, 1, 1, 1]
    assert batch.columns.tolist() == [2, 3, 0, 1, 2]
    assert batch.targets.tolist() == [10, 11, 20, 21, 22]


def test_an_end_token_that_equals_the_padding_is_still_a_target() -> None:
    """Trap 19: at the end, in the middle, and inside the prompt."""
    batch = DecoderOnly().collate([[1, 5], [6]], [[10, 1], [1, 20, 1, 1]], pad_id=1, device=CPU)
    assert batch.targets.tolist() == [10, 1, 1, 20, 1, 1]
    assert batch.mask.sum(1).tolist() == [4, 5]
    assert batch.tokens[0].tolist() == [1, 5, 10, 1, 1]


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_do_not_depend_on_padding_or_neighbours(family: str) -> None:
    """Trap 27: together, alone, in another order, and under another padding id."""
    model = build(family)
    with torch.no_grad():
        whole = model.hidden(model.batch(PROMPTS, RESPONSES))
        alone = [
            model.hidden(model.batch([prompt], [response]))
            for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
        ]
        backwards = model.hidden(model.batch(PROMPTS[::-1], RESPONSES[::-1]))
        other = DecoderOnly().collate(PROMPTS, RESPONSES, pad_id=123, device=CPU)
        repadded = model.hidden(other)
    _close(whole, torch.cat(alone))
    _close(backwards, torch.cat(alone[::-1]))
    assert torch.equal(repadded, whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_later_tokens_do_not_change_earlier_positions(family: str) -> None:
    """Trap 18: a position that saw its own target would be wrong whatever the loss says."""
    model = build(family)
    changed = [[*response[:-1], 333] for response in RESPONSES]
    with torch.no_grad():
        first = model.hidden(model.batch(PROMPTS, RESPONSES))
        second = model.hidden(model.batch(PROMPTS, changed))
    _close(first, second)


def _close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
