"""A teacher of this process: a causal language model of transformers, chat model or not."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from distillkit.core.errors import ConfigError, DataError
from distillkit.core.keeper import Keeper
from distillkit.core.seeds import child_seed
from distillkit.core.store import key_of
from distillkit.core.templates import RenderingError
from distillkit.core.types import Example
from distillkit.endpoints.replies import Reply
from distillkit.lessons.attempts import by_attempt
from distillkit.lessons.base import Request, WritingTeacher
from distillkit.lessons.settings import Writing
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel

LAYOUT = 1
"""Part of every key; raised whenever the meaning of what is kept changes."""


class LocalTeacher(WritingTeacher):
    """A loaded model that writes.

    Args:
        model: the model; its weights stay as they are.
        writing: temperatures and lengths.
        weights: digest that tells these weights from others.
        name: who it is, as the user named it.
        seed: root of all draws. Each request has its own by its example's id and its attempt.
    """

    def __init__(
        self, model: LanguageModel, writing: Writing, *, weights: str, name: str, seed: int
    ) -> None:
        self._model, self._writing = model, writing
        self._weights, self._name, self._seed = weights, name, seed

    @property
    def name(self) -> str:
        return self._name

    def write(self, requests: Sequence[Request], *, keeper: Keeper) -> list[Reply]:
        """See :meth:`WritingTeacher.write`.

        Raises:
            DataError: a request fills the model's context; nothing was written then.
            ConfigError: the model's chat template cannot hold the conversation.
        """
        self._check_room(requests)
        return by_attempt(requests, lambda *part: self._written(*part, keeper=keeper))

    def _prompt(self, request: Request) -> tuple[int, ...]:
        asked = Example(request.example.id, request.conversation, reference="")
        try:
            return self._model.prompts.prompt_ids(asked)
        except DataError as error:
            if not isinstance(error.__cause__, RenderingError):
                raise
            raise ConfigError(
                f"teacher.name={self.name}: its chat template cannot hold what is asked for "
                f"example {request.example.id} ({error.__cause__}). "
                "Use prompt.system='' where it knows no system message, or teacher.prompt=plain."
            ) from error

    def _check_room(self, requests: Sequence[Request]) -> None:
        prompts = [self._prompt(request) for request in requests]
        context = self._model.context
        long = [row for row, prompt in enumerate(prompts) if len(prompt) >= context]
        if not long:
            return
        row = max(long, key=lambda row: len(prompts[row]))
        raise DataError(
            f"the lesson for example {requests[row].example.id} is asked for in "
            f"{len(prompts[row])} tokens, which fill the context of {context} of "
            f"teacher.name={self.name} ({len(long)} of {len(requests)} do). Show it fewer records "
            "with evidence.wrong=... and evidence.right=..., or choose a teacher with more room."
        )

    def _written(self, attempt: int, requests: Sequence[Request], *, keeper: Keeper) -> list[Reply]:
        model, sampling = self._model, self._writing.sampling(attempt)
        prompts = [self._prompt(request) for request in requests]
        seeds = [
            child_seed(self._seed, "lessons", request.example.id, attempt)
            if sampling.temperature
            else 0
            for request in requests
        ]
        decoding = asdict(sampling)
        del decoding["batch_size"]
        about = [self._weights, sorted(model.stop_ids), decoding]
        keys = [
            key_of(LAYOUT, "lesson", *about, prompt, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        fresh: set[str] = set()

        def make(part: Sequence[int]) -> list[bytes]:
            texts = generate(
                model,
                [prompts[row] for row in part],
                sampling,
                seed=[seeds[row] for row in part],
                poll=keeper.poll,
            )
            fresh.update(keys[row] for row in part)
            kept = ({"tokens": text.tokens, "truncated": text.truncated} for text in texts)
            return [json.dumps(text).encode() for text in kept]

        lengths = [len(prompt) for prompt in prompts]
        values = keeper.get("lessons", keys, lengths=lengths, make=make)
        return [
            self._reply(json.loads(value), len(prompt), reused=key not in fresh)
            for key, prompt, value in zip(keys, prompts, values, strict=True)
        ]

    def _reply(self, kept: dict, prompt_tokens: int, *, reused: bool) -> Reply:
        return Reply(
            text=self._model.tokenizer.decode(kept["tokens"], skip_special_tokens=True),
            prompt_tokens=prompt_tokens,
            completion_tokens=len(kept["tokens"]),
            finish_reason="length" if kept["truncated"] else "stop",
            reused=reused,
        )
