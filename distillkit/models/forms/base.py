"""What every form is, and what a prompt is made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from distillkit.core.types import Batch

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Prompt(tuple[int, ...]):
    """Token ids up to a response, with what a model reads beside them."""

    extras: Mapping[str, Tensor]
    """Tensors by the name of the model's argument, such as the pixels of an image."""

    def __new__(cls, ids: Iterable[int], extras: Mapping[str, Tensor] = NOTHING) -> Self:
        """Ids alone make text."""
        made = super().__new__(cls, ids)
        made.extras = extras
        return made


Body = Callable[..., Any]
"""A transformer below its head: transformers' arguments to transformers' output."""


@dataclass(frozen=True, slots=True)
class Laid:
    """A batch as it goes through a body.

    Attributes:
        given: what the body takes, by the names of its arguments.
        places: index of the packed positions among all that go through it [N].
        among: how many those are.
    """

    given: Mapping[str, Tensor]
    places: Tensor
    among: int


class Form(Protocol):
    """How a family of models takes prompt and response."""

    def collate(
        self,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        *,
        pad_id: int,
        device: torch.device,
    ) -> Batch:
        """Rows of prompt and response as one batch.

        Args:
            prompts: B prompts of token ids, none empty; a :class:`Prompt` may bring extras.
            responses: B responses of token ids.
            pad_id: any valid id; masked.
            device: where the tensors go.

        Returns:
            A batch whose packed positions run through the responses row by row.
        """

    def lay_out(self, batch: Batch) -> Laid:
        """What of a batch goes through the body, and where it is read."""

    def hidden(self, body: Body, laid: Laid) -> Tensor:
        """Last hidden states at the packed positions [N, D], each predicting one target."""
