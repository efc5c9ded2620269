"""A vLLM server as a writer: it follows the student through a folder of weights.

``/collective_rpc`` with ``reload_weights`` is a route of vLLM's development mode. What the server
kept of prompts under the old weights is dropped, and the new ones are proved: it scores a few
positions as the student does.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillkit.core.errors import EndpointError
from distillkit.core.files import new_folder
from distillkit.core.seeds import child_seed
from distillkit.core.store import Store, key_of
from distillkit.core.types import Author, Example, Response
from distillkit.endpoints.bounded import Malformed
from distillkit.endpoints.questions import Answer, Question, put
from distillkit.endpoints.server import Correspondent, Wanted, converse
from distillkit.endpoints.tokens import Misfit, Scoring, Writing
from distillkit.endpoints.vllm import VLLM
from distillkit.models.identity import digest_of
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.likelihood import token_nlls
from distillkit.models.reading import PROBE
from distillkit.models.sampling import Sampling
from distillkit.writers.served import Served

LAYOUT = 1
"""Part of every key; raised whenever the meaning of what is kept changes."""

NAME = "texts.sqlite"
POSITIONS = 16
CHUNK_MB = 64
SIDE_BY_SIDE = 16
"""Responses that the student reads together."""


class ServedWriter:
    """Writes with a server, in the distribution of its arithmetic; log-probabilities are ours.

    Texts are kept by the weights that they were written with: a run that is resumed has the text
    that it had, though a server need not write the same twice.
    """

    def __init__(self, settings: Served, student: LanguageModel) -> None:
        self._settings, self._student, self._engine = settings, student, VLLM()
        self._folder = Path(settings.folder).absolute()
        ids = tuple(student.tokenizer.encode(PROBE, add_special_tokens=False))[: POSITIONS + 1]
        self._probe = Scoring(ids[:1], ids[1:])
        self._version: int | None = None
        self._digest = ""
        self._asks = Correspondent(
            settings=settings,
            store=Store(self._folder / NAME),
            kind="texts of the student",
            mend=self._mend,
        )

    def attend(self, *, poll: Callable[[], None], say: Callable[[str], None]) -> None:
        """Told whom to ask whether to stop while it waits, and how to speak to the user."""
        self._asks.poll, self._asks.say = poll, say

    def follow(self, student: LanguageModel, *, version: int) -> None:
        """Put the weights into the folder, and have the server read them."""
        if version == self._version:
            return
        weights = self._folder / f"step-{version:06d}"
        shutil.rmtree(weights, ignore_errors=True)
        with student.plain():
            self._digest = digest_of(student.module)
            with new_folder(weights) as made:
                student.module.save_pretrained(made, safe_serialization=True)
                student.tokenizer.save_pretrained(made)
        older, self._version = self._version, version
        settings = self._settings
        asks = [self._engine.scoring(settings.model, settings.root, self._probe)]
        converse(settings, self._give, questions=asks, poll=self._asks.poll, say=self._asks.say)
        if older is not None:
            shutil.rmtree(self._folder / f"step-{older:06d}", ignore_errors=True)

    def write(
        self,
        examples: Sequence[Example],
        sampling: Sampling,
        *,
        seed: int | Sequence[int],
        poll: Callable[[], None] = lambda: None,
    ) -> list[Response]:
        """See :class:`distillkit.writers.base.Writer`."""
        poll()
        prompts = self._student.prompts.of(examples)
        seeds = (
            [child_seed(seed, row) for row in range(len(prompts))]
            if isinstance(seed, int)
            else list(seed)
        )
        asked = [
            Writing(
                prompt=tuple(prompt),
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                min_p=sampling.min_p,
                max_tokens=sampling.max_new_tokens,
                seed=own,
                stops=tuple(sorted(self._student.stop_ids)),
            )
            for prompt, own in zip(prompts, seeds, strict=True)
        ]
        keys = [key_of("written", LAYOUT, self._digest, asdict(each)) for each in asked]
        found = self._asks.get(
            {key: self._wanted(each) for key, each in zip(keys, asked, strict=True)}
        )
        texts = [json.loads(found[key]) for key in keys]
        written = [Response(tuple(tokens), cut, Author.student) for tokens, cut in texts]
        return self._scored(examples, written) if sampling.neutral else written

    def _scored(self, examples: Sequence[Example], written: list[Response]) -> list[Response]:
        """With the log-probabilities of the student's own forward pass."""
        student, told = self._student, []
        for start in range(0, len(written), SIDE_BY_SIDE):
            part = slice(start, start + SIDE_BY_SIDE)
            texts = [response.tokens for response in written[part]]
            nlls = self._nlls(student.prompts.of(examples[part]), texts)
            told += [tuple(each.tolist()) for each in (-nlls).split([len(text) for text in texts])]
        return [
            replace(response, log_probs=own, of_student=own)
            for response, own in zip(written, told, strict=True)
        ]

    def _nlls(self, prompts: Sequence[Any], texts: Sequence[Sequence[int]]) -> torch.Tensor:
        student = self._student
        with torch.no_grad(), evaluating(student):
            batch = student.batch(prompts, texts)
            states = student.hidden(batch)
            return token_nlls(states, batch.targets, student.head, chunk_mb=CHUNK_MB)

    def _wanted(self, asked: Writing) -> Wanted:
        vocabulary, holes = self._student.vocabulary, self._student.head.holes
        unreal = set() if holes is None else set(holes.tolist())

        def read(answer: Answer) -> bytes:
            text = self._engine.text(answer, asked)
            strange = [each for each in text.tokens if each >= vocabulary or each in unreal]
            if strange:
                raise Misfit(f"wrote the id {strange[0]}, which no token of student.name has")
            if not text.cut and text.tokens[-1] not in asked.stops:
                raise Misfit(
                    f"ended a text with the id {text.tokens[-1]}, which ends none of the "
                    "student's. Serve the model with --generation-config vllm"
                )
            return json.dumps([text.tokens, text.cut], separators=(",", ":")).encode()

        return Wanted(self._engine.writing(self._settings.model, asked), read)

    async def _mend(self, client: Any) -> bool:
        """A server that was started again wrote with the weights that it was started with."""
        try:
            await self._give(client)
        except Misfit as words:
            raise self._settings.misfit(words) from None
        return False

    async def _give(self, client: Any) -> None:
        """Have the newest weights read, and see whether they are there."""
        settings, root = self._settings, self._settings.root
        weights = str(self._folder / f"step-{self._version:06d}")
        body = {"method": "reload_weights", "kwargs": {"weights_path": weights}}
        statuses = frozenset({403, 404, 405, 500})
        answer = await put(client, Question(f"{root}/collective_rpc", body, tolerates=statuses))
        if answer.status == 500:
            raise EndpointError(
                f"writer.url={settings.url} could not read the student's weights from {weights}; "
                "its own log says why. Start it again with a model of the student's shape, and set "
                "writer.folder to a folder that it sees by the same name."
            )
        if answer.status != 200:
            raise EndpointError(
                f"writer.url={settings.url} takes no weights: it is no vLLM in development mode. "
                "Start vllm serve with VLLM_SERVER_DEV_MODE=1 set, where nobody else reaches it."
            )
        emptied = await put(client, Question(f"{root}/reset_prefix_cache", {}))
        if emptied.fields().get("success") is not True:
            raise Malformed("what it kept of prompts could not be dropped yet")
        question = self._engine.scoring(settings.model, root, self._probe)
        theirs = self._engine.scores(await put(client, question), self._probe).drawn
        ours = -self._nlls([self._probe.prompt], [self._probe.response]).float().cpu().numpy()
        if (apart := float(np.abs(theirs - ours).mean())) > settings.tolerance:
            raise Misfit(
                f"has not taken the student's weights: its scores of {POSITIONS} tokens differ by "
                f"{apart:.3g} nats in the mean, and writer.tolerance={settings.tolerance:g}"
            )
