"""Readers whose tokens are others than the student's: they read a translation of a rollout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from distillkit.core.costs import Costs
from distillkit.core.types import Example, Rollout
from distillkit.models.language_model import LanguageModel
from distillkit.models.likelihood import rows_within, token_odds
from distillkit.opinions.aligned import AlignedOpinion
from distillkit.opinions.base import Reader
from distillkit.opinions.matched import MatchedOpinion
from distillkit.opinions.states import StatesOpinion
from distillkit.opinions.translation import Translation, Translator
from distillkit.supports.aligned import Chunked, covered
from distillkit.supports.odds import Odds
from distillkit.supports.shared_ids import Pairs

CHUNK_MB = 64
"""Mebibytes for a teacher's logits while it reads."""


class Scores(Protocol):
    """Who can be asked how likely a teacher finds its own ids."""

    @property
    def padded_parameters(self) -> int:
        """Numbers of this process that every token of padding is multiplied with; 0 for none."""

    def score(self, translations: Sequence[Translation]) -> Odds:
        """Of every token of the responses, one response after the other [M]."""


@dataclass(frozen=True, slots=True)
class ModelScores:
    """A model of this process."""

    model: LanguageModel

    @property
    def padded_parameters(self) -> int:
        """The model's."""
        return self.model.padded_parameters

    def score(self, translations: Sequence[Translation]) -> Odds:
        """One forward pass, all rows side by side."""
        prompts, responses = [each.prompt for each in translations], [e.ids for e in translations]
        batch = self.model.batch(prompts, responses)
        states = self.model.hidden(batch)
        rows = rows_within(CHUNK_MB, self.model.vocabulary)
        return token_odds(states, batch.targets, self.model.head, rows=rows)


class ForeignReader(Reader):
    """What all readers of another tokenizer share: they read a translation."""

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self._tokens = 0

    @property
    def costs(self) -> Costs:
        """Tokens of its own that the teacher read; its seconds are counted by who asks."""
        return Costs(tokens=self._tokens)

    def translated(self, rollouts: Sequence[Rollout]) -> list[Translation]:
        """What is read of rollouts, and counted."""
        found = [self.translator.of(each) for each in rollouts]
        self._tokens += sum(len(each.prompt) + len(each.ids) for each in found)
        return found

    @property
    def context(self) -> int:
        """No bound on the student's tokens: the teacher reads as far as it has room."""
        return 1 << 40

    def prompt_length(self, example: Example) -> int:
        """In the teacher's format and ids."""
        return len(self.translator.prompt(example))

    def length(self, rollout: Rollout) -> int:
        """In the teacher's ids."""
        translation = self.translator.of(rollout)
        return len(translation.prompt) + len(translation.ids)


class AlignedReader(ForeignReader):
    """Reads a translation, and says how likely each chunk is.

    Args:
        translator: from the student's ids to the teacher's.
        scores: says how likely the teacher finds its own.
        device: where opinions are wanted.
    """

    def __init__(self, translator: Translator, scores: Scores, *, device: torch.device) -> None:
        super().__init__(translator)
        self._scores, self._device = scores, device

    @property
    def padded_parameters(self) -> int:
        """Of whoever scores."""
        return self._scores.padded_parameters

    def read(self, rollouts: Sequence[Rollout]) -> AlignedOpinion:
        """One question for all rows."""
        translations = self.translated(rollouts)
        likely = self._scores.score(translations).sure()
        ours = _Places(self._device)
        theirs = _Places(likely.device)
        for rollout, translation in zip(rollouts, translations, strict=True):
            ours.add([chunk.ours for chunk in translation.chunks], len(rollout.response.tokens))
            theirs.add([chunk.theirs for chunk in translation.chunks], len(translation.ids))
        log_probs = torch.zeros(ours.end, dtype=torch.float64, device=self._device)
        lengths = torch.zeros(ours.end, dtype=torch.long, device=self._device)
        starts, counts = ours.runs()
        run, places = covered(*theirs.runs())
        whole = likely.new_zeros(len(starts)).index_add(0, run, likely[places])
        log_probs[starts] = whole.to(self._device)
        lengths[starts] = counts
        return AlignedOpinion(Chunked(log_probs, lengths))


class MatchedReader(ForeignReader):
    """Reads a translation with a model of this process.

    Args:
        translator: from the student's ids to the teacher's.
        model: the teacher.
        pairs: of ids, where the support asks.
    """

    def __init__(
        self, translator: Translator, model: LanguageModel, *, pairs: Pairs | None
    ) -> None:
        super().__init__(translator)
        self._model, self._pairs = model, pairs

    @property
    def padded_parameters(self) -> int:
        """The model's."""
        return self._model.padded_parameters

    def read(self, rollouts: Sequence[Rollout]) -> MatchedOpinion:
        """One forward pass, all rows side by side."""
        model, translations = self._model, self.translated(rollouts)
        batch = model.batch([t.prompt for t in translations], [t.ids for t in translations])
        read = model.hidden(batch)
        places: list[int] = []
        first = 0
        for rollout, translation in zip(rollouts, translations, strict=True):
            known = {chunk.ours.start: chunk.theirs.start for chunk in translation.chunks}
            count = len(rollout.response.tokens)
            places += [first + known[n] if n in known else -1 for n in range(count)]
            first += len(translation.ids)
        where = torch.tensor(places, device=read.device)
        matched = where >= 0
        states = read[where.clamp_min(0)] * matched[:, None]
        # What is drawn is not asked for: the ids stand for nothing here.
        inner = StatesOpinion(states, where, model)
        return MatchedOpinion(inner, matched, self._pairs)


class _Places:
    """Runs of places in responses that stand end to end."""

    def __init__(self, device: torch.device) -> None:
        self._device, self.end = device, 0
        self._starts: list[int] = []
        self._lengths: list[int] = []

    def add(self, runs: Sequence[range], length: int) -> None:
        """Those of one more response of so many tokens."""
        self._starts += [self.end + run.start for run in runs]
        self._lengths += [len(run) for run in runs]
        self.end += length

    def runs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """First places [C] and lengths [C]."""
        both = torch.tensor([self._starts, self._lengths], dtype=torch.long, device=self._device)
        return both[0], both[1]
