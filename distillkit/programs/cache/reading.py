"""What a teacher says of texts, as columns to be kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from distillkit.core.seeds import child_seed
from distillkit.core.types import Rollout
from distillkit.models.likelihood import rows_within
from distillkit.opinions.base import Opinion, Reader
from distillkit.opinions.cache_layout import ids_type, row_key
from distillkit.opinions.cache_writer import Columns
from distillkit.opinions.sparse import told
from distillkit.opinions.states import StatesOpinion
from distillkit.programs.cache.texts import Subject
from distillkit.run import CacheRun
from distillkit.supports.base import Drawn, Support

CHUNK_MB = 64
"""Mebibytes of logits that are alive at once."""
LEAST = {torch.float16: -65504.0}
"""What stands for log 0 where the floor does not fit."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a teacher is read."""

    reader: Reader
    support: Support
    seed: int
    vocabulary: int
    kept: torch.dtype

    @classmethod
    def of(cls, run: CacheRun, subject: Subject) -> Self:
        """As a run wants it."""
        kept = getattr(torch, run.kept)
        return cls(subject.reader, run.support, run.seed, subject.student.vocabulary, kept)

    def of_rows(self, rollouts: Sequence[Rollout]) -> list[Columns]:
        """The columns of each text, read side by side."""
        lengths = [len(each.response.tokens) for each in rollouts]
        with torch.no_grad():
            opinions = self.reader.read(rollouts).split(lengths)
            # Row by row, so that draws depend on the text alone.
            return [self._columns(*pair) for pair in zip(rollouts, opinions, strict=True)]

    def _columns(self, rollout: Rollout, opinion: Opinion) -> dict[str, Tensor]:
        ids = ids_type(self.vocabulary)
        targets = torch.tensor(rollout.response.tokens)
        columns = {"tokens": targets.to(ids)}
        if self.support.dense:
            assert isinstance(opinion, StatesOpinion), "refused when composing"
            return columns | {"states": opinion.states.cpu().to(self.kept)}
        where = opinion.states.device if isinstance(opinion, StatesOpinion) else targets.device
        draw = child_seed(self.seed, "draws", row_key(rollout.example, rollout.response.tokens))
        sparse = told(
            opinion,
            targets.to(where),
            self.support,
            rows=rows_within(CHUNK_MB, self.vocabulary),
            chunk_mb=CHUNK_MB,
            generator=torch.Generator().manual_seed(draw),
        )
        entries, drawn = sparse.entries, sparse.drawn(chunk_mb=CHUNK_MB)
        columns |= {"ids": entries.ids.cpu().to(ids), "drawn": drawn.float().cpu()}
        if isinstance(entries, Drawn):
            weights = self._narrow(entries.log_weights)
            return columns | {"log_weights": weights, "entropy": entries.entropy.float().cpu()}
        return columns | {
            "log_probs": self._narrow(entries.log_probs),
            "rest": entries.rest.float().cpu(),
        }

    def _narrow(self, logs: Tensor) -> Tensor:
        least = LEAST.get(self.kept)
        return (logs if least is None else logs.clamp_min(least)).cpu().to(self.kept)
