"""A served teacher of another tokenizer: it says how likely it finds translations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distillkit.core.costs import Costs
from distillkit.core.errors import ConfigError
from distillkit.core.types import Rollout
from distillkit.divergences.apart import FLOOR
from distillkit.endpoints.tokens import Scoring
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import locate
from distillkit.models.prompts import PromptFormat
from distillkit.models.tokenizer_files import load_tokenizer
from distillkit.opinions.foreign import AlignedReader
from distillkit.opinions.served.reader import ServedReader
from distillkit.opinions.served.settings import ServedTeacher
from distillkit.opinions.translation import Translation, Translator
from distillkit.supports.odds import Odds


@dataclass(slots=True)
class Served:
    """How a served model is spoken to."""

    prompts: PromptFormat
    end_id: int
    context: int


@dataclass(frozen=True, slots=True)
class ServedScores:
    """A server that is asked about its own ids."""

    reader: ServedReader

    @property
    def padded_parameters(self) -> int:
        """Nothing of it is here."""
        return 0

    def score(self, translations: Sequence[Translation]) -> Odds:
        """Log-probabilities as they are told; a rest is one minus that."""
        drawn = np.concatenate(self.reader.score([_scoring(each) for each in translations]))
        wide = torch.from_numpy(drawn.astype(np.float64)).clamp(FLOOR, 0)
        rest = (-torch.expm1(wide)).log().clamp_min(FLOOR)
        return Odds(wide, rest)


class ServedAlignedReader(AlignedReader):
    """Reads by asking a server, all rows of a batch at once.

    Args:
        translator: from the student's ids to the server's.
        reader: asks.
        device: where opinions are wanted.
    """

    def __init__(
        self, translator: Translator, reader: ServedReader, *, device: torch.device
    ) -> None:
        super().__init__(translator, ServedScores(reader), device=device)
        self._reader = reader

    def expect(self, rollouts: Sequence[Rollout]) -> None:
        """Have all of them scored, side by side."""
        self._reader.expect_scores([_scoring(self.translator.of(each)) for each in rollouts])

    def attend(self, *, poll: Callable[[], None], say: Callable[[str], None]) -> None:
        """A server that is down is waited for as long as nobody asks to stop."""
        self._reader.attend(poll=poll, say=say)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The server's."""
        return self._reader.identity

    @property
    def costs(self) -> Costs:
        """Of what was really asked."""
        return self._reader.costs


def translating(
    student: LanguageModel, reader: ServedReader, prompts: PromptFormat
) -> ServedAlignedReader:
    """A reader for ``support=aligned``.

    Raises:
        ModelError: one of the tokenizers does not say which bytes its tokens are.
    """
    served = Served(prompts, prompts.tokenizer.eos_token_id, reader.context)
    return ServedAlignedReader(Translator(student, served), reader, device=student.device)


def own_tokenizer(settings: ServedTeacher) -> Any:
    """The served model's tokenizer, which must be named where it is another one.

    Raises:
        ConfigError: it is the student's.
        ModelError: it cannot be loaded.
    """
    name = settings.tokenizer
    if name is None:
        raise ConfigError(
            "support=aligned is for a teacher of another tokenizer, and teacher.tokenizer=null is "
            "the student's. Set teacher.tokenizer to the served model's, or use support=sampled."
        )
    return load_tokenizer("teacher.tokenizer", name, locate(name))


def _scoring(translation: Translation) -> Scoring:
    return Scoring(tuple(translation.prompt), translation.ids, 0)
