"""Who answers at an address: engine, version, name, tokenizer, template, and what it thinks.

Asked when a run begins, and again whenever the server has failed, because another one may have been
started in its place. A server that changes its model without failing is not noticed before the next
beginning.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.types import Example, Message
from distillkit.endpoints.questions import Answer, Question, put
from distillkit.endpoints.tokens import Misfit, Scoring
from distillkit.models.prompts import PromptFormat
from distillkit.models.reading import PROBE
from distillkit.opinions.served.settings import ServedTeacher

POSITIONS = 16
"""Positions of the probe that are scored."""


@dataclass(frozen=True, slots=True)
class Met:
    """Who was met."""

    version: str
    """Of the engine."""
    context: int | None
    """Most tokens that it reads; None where it does not say."""
    thinks: tuple[float, ...]
    """Log-probabilities of the probe's tokens."""

    def apart(self, other: tuple[float, ...]) -> float:
        """Mean distance of two answers to the probe, in nats."""
        return float(np.abs(np.subtract(self.thinks, other)).mean())


class Meeting:
    """How a server is met.

    Args:
        settings: where it is, and what it must be.
        prompts: render for it, with what should be its tokenizer.
        k: entries that the run will ask for at each position.
        own: whether these are entries of the student's.
    """

    def __init__(
        self, settings: ServedTeacher, prompts: PromptFormat, *, k: int, own: bool
    ) -> None:
        self._settings, self._prompts, self._engine = settings, prompts, settings.spoken
        ids = tuple(prompts.tokenizer.encode(PROBE, add_special_tokens=False))[: POSITIONS + 1]
        entries = None
        if own:
            entries = np.tile(np.arange(k, dtype=np.uint32), (len(ids) - 1, 1))
        self.probe = Scoring(ids[:1], ids[1:], 0 if own else k, entries)
        self.met: Met | None = None

    @property
    def largest(self) -> Question:
        """The question with the largest answer."""
        settings = self._settings
        return self._engine.scoring(settings.model, settings.root, self.probe)

    async def talk(self, client: Any) -> None:
        """Ask all of it, and compare with who was met before, if anyone was.

        Raises:
            DistillkitError: this is not who was named.
            Misfit: nor is this.
        """
        settings, name = self._settings, self._engine.NAME
        answer = await put(client, self._engine.version(settings.root))
        version = self._engine.said_version(answer)
        if version is None:
            raise Misfit(
                f"is served by something that tells no version of {name}, so it is none and may "
                f"not score text: vLLM does, and transformers serve does not. Start it with vllm "
                f"serve, or set teacher.engine"
            )
        if settings.version not in (None, version):
            raise ConfigError(
                f"teacher.version={settings.version}, but {settings.url} runs {name} {version}. "
                "Start that version, or set teacher.version to what is there."
            )
        context = await self._named(client)
        await self._splits(client)
        scored = self._engine.scores(await put(client, self.largest), self.probe)
        met = Met(version, context, tuple(scored.drawn.tolist()))
        if self.met is not None:
            self._same(met, self.met)
        self.met = met

    def _same(self, met: Met, before: Met) -> None:
        if met.version != before.version:
            raise ModelError(
                f"teacher.url={self._settings.url} came back with {self._engine.NAME} "
                f"{met.version}, and {before.version} answered before. Start that version again, "
                "or type the same command again to go on with the new one."
            )
        if (apart := met.apart(before.thinks)) > self._settings.tolerance:
            raise another(self._settings, apart, "before it failed")

    async def _named(self, client: Any) -> int | None:
        """Whether the name is served. Its context, where that is said."""
        settings = self._settings
        listed = (await put(client, Question("/models"))).fields().get("data")
        cards = [each for each in listed or [] if isinstance(each, dict)]
        found = {str(card.get("id")): card.get("max_model_len") for card in cards}
        if settings.model not in found:
            raise ConfigError(
                f"teacher.model={settings.model} is not served at {settings.url}, which has "
                f"{', '.join(found) or 'no model'}. Set teacher.model to one of them, or start "
                "the server with --served-model-name."
            )
        length = found[settings.model]
        return length if type(length) is int else None

    async def _splits(self, client: Any) -> None:
        """Whether text becomes the same ids there as here."""
        tokenizer = self._prompts.tokenizer
        plain = {"prompt": PROBE, "add_special_tokens": False}
        ours = tokenizer.encode(PROBE, add_special_tokens=False)
        await self._compare(client, plain, ours, "splits a text into other ids than", "tokenizer")
        chat = self._prompts.chat
        # A server tells its templates the time, and here the clock stands.
        if chat is None or chat.tells_time is not None:
            return
        example = Example(id="probe", prompt=(Message("user", PROBE),), reference="")
        variables = {k: v for k, v in (self._settings.template or {}).items() if k != "today"}
        asked = {
            "messages": [{"role": "user", "content": PROBE}],
            "add_generation_prompt": True,
            "chat_template_kwargs": variables,
        }
        ours = list(self._prompts.prompt_ids(example))
        await self._compare(client, asked, ours, "renders a chat otherwise than", "chat template")

    async def _compare(
        self, client: Any, asked: dict[str, Any], ours: list[int], verb: str, what: str
    ) -> None:
        settings = self._settings
        where = Question(
            f"{settings.root}/tokenize",
            {"model": settings.model, **asked},
            tolerates=frozenset({400, 404, 405}),
        )
        answer = await put(client, where)
        if answer.status in (404, 405):
            # Nothing tells then but the scores themselves, and the probe.
            return
        theirs = self._ids(answer)
        if theirs != ours:
            place = next(
                (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
                min(len(ours), len(theirs)),
            )
            held = f"teacher.tokenizer={settings.tokenizer}"
            named = "the student's tokenizer" if settings.tokenizer is None else held
            raise Misfit(
                f"{verb} {named} (from position {place} of {len(ours)} on). Set teacher.tokenizer "
                f"to the served model's own, or serve the model with that {what}"
            )

    @staticmethod
    def _ids(answer: Answer) -> list[int]:
        return list(answer.fields().get("tokens") or []) if answer.status == 200 else []


def another(settings: ServedTeacher, apart: float, than: str) -> ModelError:
    """An error about a model that is not the one that was there."""
    return ModelError(
        f"teacher.url={settings.url}: another model is served as teacher.model={settings.model} "
        f"than {than}: its scores of {POSITIONS} tokens differ by {apart:.3g} nats in the mean, "
        f"and teacher.tolerance={settings.tolerance:g}. Serve the model that was meant, or give "
        "another one a name of its own with --served-model-name."
    )
