"""Opinions that were kept: tells of any text in a cache what its teacher said of it."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from distillkit.core.costs import Costs
from distillkit.core.errors import DataError
from distillkit.core.reading import damaged
from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.divergences.apart import FLOOR
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.opinions.base import Opinion, Reader
from distillkit.opinions.cache_fit import KeptHead, agree, head_of
from distillkit.opinions.cache_layout import (
    WAY_OUT,
    CacheManifest,
    prompt_key,
    row_key,
    text_key,
)
from distillkit.opinions.cache_rows import Rows, check_files
from distillkit.opinions.sparse import SparseOpinion
from distillkit.opinions.states import StatesOpinion
from distillkit.supports.base import Drawn, Sparse, Support
from distillkit.supports.sampled import Sampled


class CacheReader(Reader):
    """Reads with a cache.

    Args:
        path: the cache, as it was typed.
        manifest: what it says of itself.
        student: whose ids are meant. It is made to agree with the teacher as in a pair.
        support: on which the two are compared; None where nothing is.

    Raises:
        ModelError: the student's tokenizer or ids are others.
        RunError: a file is damaged.
    """

    def __init__(
        self,
        path: Path,
        manifest: CacheManifest,
        student: LanguageModel,
        support: Support | None,
    ) -> None:
        self._path, self._manifest, self._student = path, manifest, student
        self._support = support
        agree(path, manifest, student)
        # It takes a while for a large one, so of several processes one looks for all.
        student.placement.told(lambda: check_files(path, manifest))
        self._rows = Rows(path)
        self._head = head_of(path, manifest, student.device)
        self._costs = Costs()

    @property
    def context(self) -> int:
        """The teacher's."""
        return self._manifest["context"]

    def prompt_length(self, example: Example) -> int:
        """As the teacher read it."""
        return self._found(prompt_key(example), example, "nothing of")[0]

    def _found(self, key: str, example: Example, lacks: str) -> list[int]:
        if (entry := self._rows.entry(key)) is not None:
            return entry
        made = self._manifest
        raise DataError(
            f"teacher.path={self._path} has {lacks} {example.id}: it holds {made['rows']} texts of "
            f"dataset={made['dataset']['name']} by the {made['author']} (field dataset of its "
            "manifest). Make a cache of what is trained on, or train on that."
        )

    def know(self, examples: Sequence[Example]) -> None:
        """Look up what is asked."""
        self._rows.preload([prompt_key(each) for each in examples])

    def foresee(self, rollouts: Iterable[Rollout]) -> None:
        """Look up all that was read, so that the first lack is found before the first update."""
        known = {row_key(each.example, each.response.tokens): each for each in rollouts}
        self._rows.preload(list(known))
        for key, rollout in known.items():
            self._found(key, rollout.example, "no such text of")

    def read(self, rollouts: Sequence[Rollout]) -> Opinion:
        """Slices of the shards, end to end."""
        begun, before = time.monotonic(), self._rows.bytes
        parts = [self._columns(rollout) for rollout in rollouts]
        columns = {
            name: torch.cat([part[name] for part in parts]).to(self._student.device)
            for name in parts[0]
        }
        lengths = [
            self.prompt_length(each.example) + len(each.response.tokens) for each in rollouts
        ]
        read, seconds = self._rows.bytes - before, time.monotonic() - begun
        self._costs += Costs(tokens=sum(lengths), bytes=read, seconds=seconds)
        return opinion_of(columns, support=self._support, head=self._head)

    def _columns(self, rollout: Rollout) -> dict[str, Tensor]:
        example, tokens = rollout.example, rollout.response.tokens
        place = self._found(row_key(example, tokens), example, "no such text of")
        found = self._rows.columns(place)
        if tuple(found["tokens"].tolist()) != tokens:
            raise damaged(self._path, f"the row of {example.id} is another's", way_out=WAY_OUT)
        return found

    def texts(
        self, examples: Sequence[Example], sampling: Sampling, *, seed: int
    ) -> dict[str, Response]:
        """What the teacher wrote when the cache was made, with the seed of the cache."""
        made = self._manifest["sampling"] or {}
        for name, value in asdict(sampling).items():
            if name != "batch_size" and made.get(name, value) != value:
                raise DataError(
                    f"teacher_rollout.{name}={value}, but the text in teacher.path={self._path} "
                    f"was written with {made[name]} (field sampling of its manifest). Set "
                    f"teacher_rollout.{name}={made[name]}."
                )
        self._rows.preload([text_key(each) for each in examples])
        return {each.id: self._text(each) for each in examples}

    def _text(self, example: Example) -> Response:
        *place, truncated = self._found(text_key(example), example, "no text by the teacher of")
        tokens = tuple(self._rows.columns(place)["tokens"].tolist())
        return Response(tokens, truncated=bool(truncated), author=Author.teacher)

    @property
    def costs(self) -> Costs:
        """Bytes that were read from the cache, and the seconds that it took."""
        return self._costs


def opinion_of(
    columns: Mapping[str, Tensor], *, support: Support | None, head: KeptHead | None
) -> Opinion:
    """Kept columns of N positions as an opinion."""
    tokens = columns["tokens"].long()
    if head is not None:
        return StatesOpinion(columns["states"].to(head.head.weight.dtype), tokens, head)
    drawn = columns["drawn"]
    if "entropy" in columns:
        entries = Drawn(columns["ids"].long(), columns["log_weights"].float(), columns["entropy"])
        return SparseOpinion(entries, drawn)
    if isinstance(support, Sampled) and columns["ids"].shape[-1] > 1:
        # The text's own token is kept beside the likeliest ones.
        rest = (-drawn.double().exp()).log1p().clamp_min(FLOOR).float()
        return SparseOpinion(Sparse(tokens[:, None], drawn[:, None], rest), drawn)
    told = Sparse(columns["ids"].long(), columns["log_probs"].float(), columns["rest"])
    return SparseOpinion(told, drawn)
