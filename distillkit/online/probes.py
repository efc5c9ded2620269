"""Held-out prompts of every domain: what a draft is worth there, and what it has forgotten."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example, Rollout
from distillkit.models.acceptance import overlap, shaped
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.likelihood import rows_within
from distillkit.models.sampling import Sampling
from distillkit.opinions.states import ModelReader, StatesOpinion
from distillkit.writers.local import LocalWriter

CHUNK_MB = 160
"""Mebibytes for logits of both models."""
SIDE_BY_SIDE = 16
"""Texts that are read at a time."""


@dataclass(frozen=True, slots=True)
class Part:
    """Texts of the target that are read at a time, and what it thinks of them."""

    rollouts: Sequence[Rollout]
    opinion: StatesOpinion


class Probes:
    """The target's text on held-out prompts, written once.

    Args:
        target: writes.
        examples: held-out prompts by domain.
        sampling: how requests are answered, and so what acceptance depends on.
        seed: of the text.
        poll: called now and then; may raise to stop.
    """

    def __init__(
        self,
        target: LanguageModel,
        examples: Mapping[str, Sequence[Example]],
        sampling: Sampling,
        *,
        seed: int,
        poll: Callable[[], None],
    ) -> None:
        self._target = target
        self._sampling = replace(sampling, batch_size=SIDE_BY_SIDE)
        self._parts: dict[str, list[Part]] = {domain: [] for domain in examples}
        for domain, held in examples.items():
            for start in range(0, len(held), SIDE_BY_SIDE):
                poll()
                part = held[start : start + SIDE_BY_SIDE]
                self._parts[domain].append(self._written(part, child_seed(seed, domain, start)))

    def alphas(self, draft: LanguageModel) -> dict[str, float]:
        """By domain, the mean chance that a proposal of the draft's is accepted."""
        with evaluating(draft):
            return {
                domain: float(torch.cat([self._overlaps(draft, part) for part in parts]).mean())
                for domain, parts in self._parts.items()
            }

    def _written(self, examples: Sequence[Example], seed: int) -> Part:
        texts = LocalWriter(self._target, Author.teacher).write(examples, self._sampling, seed=seed)
        rollouts = [Rollout(example, text) for example, text in zip(examples, texts, strict=True)]
        with evaluating(self._target):
            return Part(rollouts, ModelReader(self._target).read(rollouts))

    def _overlaps(self, draft: LanguageModel, part: Part) -> torch.Tensor:
        """The chance at every position [N]."""
        own = ModelReader(draft).read(part.rollouts)
        rows = rows_within(CHUNK_MB, self._target.vocabulary)
        theirs, ours = part.opinion.opened(rows), own.opened(rows)
        found = []
        for start in range(0, len(own), rows):
            where = slice(start, start + rows)
            both = [shaped(side(where), self._sampling) for side in (theirs, ours)]
            found.append(overlap(*both))
        return torch.cat(found)
