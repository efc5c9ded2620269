"""A model of this process as a reader: its last hidden states and its head say all there is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from distillkit.core.costs import Costs
from distillkit.core.types import Example, LogProbs, PerToken, Rollout, Targets
from distillkit.models.language_model import LanguageModel
from distillkit.models.likelihood import Scorer, token_nlls
from distillkit.opinions.base import Reader


@dataclass(frozen=True, slots=True)
class StatesOpinion:
    """Hidden states and the head that makes logits of them, a chunk at a time."""

    states: Tensor
    """Last hidden states at the packed positions [N, D]."""
    targets: Targets
    """The token that the text holds at each [N]."""
    model: Scorer
    """Whose head makes logits of them, as it is then."""

    def __len__(self) -> int:
        return len(self.states)

    def opened(self, rows: int) -> Callable[[slice], LogProbs]:
        """Logits of a slice, written into one buffer again and again."""
        ready = self.model.head.prepared()
        buffer = ready.buffer(min(rows, len(self)))
        return lambda part: ready.logits(self.states[part], into=buffer)

    def drawn(self, *, chunk_mb: int) -> PerToken:
        """By the whole vocabulary."""
        return -token_nlls(self.states, self.targets, self.model.head, chunk_mb=chunk_mb)

    def rolled(self) -> Self:
        """What is drawn stays where it is."""
        return replace(self, states=self.states.roll(len(self) // 2 or 1, dims=0))

    def split(self, lengths: Sequence[int]) -> list[Self]:
        """Views."""
        parts = zip(self.states.split(lengths), self.targets.split(lengths), strict=True)
        return [replace(self, states=states, targets=targets) for states, targets in parts]

    def join(self, others: Sequence[Self]) -> Self:
        """A copy."""
        parts = (self, *others)
        return replace(
            self,
            states=torch.cat([part.states for part in parts]),
            targets=torch.cat([part.targets for part in parts]),
        )


class ModelReader(Reader):
    """Reads with a language model of this process, in its own prompt format."""

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._tokens = model, 0

    @property
    def context(self) -> int:
        """The model's."""
        return self._model.context

    @property
    def padded_parameters(self) -> int:
        """The model's."""
        return self._model.padded_parameters

    def prompt_length(self, example: Example) -> int:
        """In the model's format."""
        return self._model.prompt_length(example)

    def read(self, rollouts: Sequence[Rollout]) -> StatesOpinion:
        """One forward pass, all rows side by side."""
        model = self._model
        prompts = model.prompts.of([rollout.example for rollout in rollouts])
        self._tokens += sum(map(len, prompts)) + sum(len(each.response.tokens) for each in rollouts)
        batch = model.batch(prompts, [rollout.response.tokens for rollout in rollouts])
        return StatesOpinion(model.hidden(batch), batch.targets, model)

    @property
    def costs(self) -> Costs:
        """Tokens that went through the model; its seconds are counted by who asks."""
        return Costs(tokens=self._tokens)
