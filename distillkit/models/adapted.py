"""A student whose adapter learns, and the base below it as a teacher."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.models.adapters import Adapters
from distillkit.models.identity import digest_of_tensors
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import AdapterExport, SelfTeacher
from distillkit.models.prompts import PromptFormat
from distillkit.models.reading import Way

WIDE = (torch.float32, torch.float64)
"""Weights into which an update is merged without losing much of it."""


class AdaptedModel(LanguageModel):
    """A student that learns by adapters.

    Args:
        model: as it was loaded.
        adapters: on its module.
    """

    def __init__(self, model: LanguageModel, adapters: Adapters) -> None:
        vars(self).update(vars(model))
        self.adapters = adapters

    @contextmanager
    def plain(self) -> Iterator[None]:
        """With what the adapter learned in the weights."""
        with self.adapters.merged():
            yield

    def begin(self, seed: int) -> None:
        """Draw the adapter anew."""
        self.adapters.begin(seed)

    def save(self, folder: Path, state: dict[str, Tensor] | None = None) -> None:
        """Write the merged model, or the adapter alone with the tokenizer."""
        if self.adapters.source.adapter.export is AdapterExport.merged:
            super().save(folder, state)
            return
        self.adapters.save(folder)
        self.tokenizer.save_pretrained(folder)

    @cached_property
    def rests_on(self) -> Mapping[str, str]:
        """A digest of the weights below the adapter, which no checkpoint holds."""
        return {"base": digest_of_tensors(self.frozen)}

    def _ways(self, own_cache: Callable[..., Any]) -> list[Way[Any]]:
        """Merged where that rounds nothing away that was learned; else as the module reads."""
        ways = super()._ways(own_cache)
        return ways if self.module.dtype in WIDE else ways[-2:]


class BareModel(LanguageModel):
    """The base of a student, in the student's own memory. Never updated.

    Args:
        student: whose adapter is left out.
        source: how it is spoken to.
    """

    def __init__(self, student: AdaptedModel, source: SelfTeacher) -> None:
        vars(self).update(vars(student))
        for found in ("way", "pages", "active_parameters"):
            vars(self).pop(found, None)
        self._adapters = student.adapters
        if (source.prompt, source.template) != (None, None):
            self.prompts = _prompts(student, source)

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Without the adapter, in the mode of reading; whatever learns is as it was afterwards."""
        learning = [part for part in self.module.modules() if part.training]
        try:
            for part in learning:
                part.training = False
            with self._adapters.bare():
                yield
        finally:
            for part in learning:
                part.training = True

    def body(self, **inputs: Any) -> Any:
        """See :class:`LanguageModel`."""
        with self.plain():
            return super().body(**inputs)

    @cached_property
    def active_parameters(self) -> int:
        """Those of the base alone."""
        with self.plain():
            return super().active_parameters

    def parameters(self) -> list[nn.Parameter]:
        """None: it does not learn."""
        return []


def below(student: LanguageModel, source: SelfTeacher) -> BareModel:
    """What a student's adapter rests on, as its teacher."""
    assert isinstance(student, AdaptedModel), "refused when composing"
    return BareModel(student, source)


def _prompts(student: AdaptedModel, source: SelfTeacher) -> PromptFormat:
    asked = source.alone(student.adapters.source)
    prompts = PromptFormat(
        student.tokenizer,
        asked.prompt,
        template=asked.template,
        side="teacher",
        special_tokens_in_text=asked.special_tokens_in_text,
    )
    prompts.unscored, prompts.unread = student.prompts.unscored, student.prompts.unread
    return prompts
