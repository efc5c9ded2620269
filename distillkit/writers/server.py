"""A vLLM server as a writer: it follows the student through a folder of weights.

``/collective_rpc`` with ``reload_weights`` is a route of vLLM's development mode. What the server
kept of prompts under the old weights is dropped, and the new ones are proved: it scores a few
positions as the student does. Before the first text it is given shaken weights, and must score as
a model with these: vLLM 0.32 on a CPU says nothing and keeps a head that is tied to the embedding.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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
SHAKEN, FOLLOWED = 0.3, 0.25
"""Noise on each weight in parts of its tensor's spread, and how much of what that changes the
server may leave out."""


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
        self._weights, self._digest, self._allowed = self._folder, "", settings.tolerance
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
        older, self._version = self._weights, version
        if self._digest == "":
            self._try_out()
        with student.plain():
            self._digest = digest_of(student.module)
        self._put(f"step-{version:06d}")
        if older not in (self._folder, self._weights):
            shutil.rmtree(older, ignore_errors=True)

    def _put(self, name: str) -> None:
        """Save the weights as they are, and have the server read them."""
        settings, student = self._settings, self._student
        self._weights = self._folder / name
        with student.plain(), new_folder(self._weights) as made:
            student.module.save_pretrained(made, safe_serialization=True)
            student.tokenizer.save_pretrained(made)
        asks = [self._engine.scoring(settings.model, settings.root, self._probe)]
        converse(settings, self._give, questions=asks, poll=self._asks.poll, say=self._asks.say)

    def _try_out(self) -> None:
        """Shaken weights must reach the server whole."""
        student, generator = self._student, torch.Generator().manual_seed(0)
        still, settings = self._thinks(), self._settings
        held = [(each, each.detach().clone()) for each in student.module.parameters()]
        try:
            with torch.no_grad():
                for each, _ in held:
                    noise = torch.randn(each.shape, generator=generator).to(each)
                    each.add_(SHAKEN * each.std(correction=0) * noise)
            moved = float(np.abs(self._thinks() - still).mean())
            self._allowed = settings.tolerance + FOLLOWED * moved
            self._put("trial")
        finally:
            with torch.no_grad():
                for each, before in held:
                    each.copy_(before)
            self._allowed = settings.tolerance
            shutil.rmtree(self._folder / "trial", ignore_errors=True)

    def _thinks(self) -> NDArray[np.float32]:
        """What the student, as it is, thinks of the probe."""
        nlls = self._nlls([self._probe.prompt], [self._probe.response])
        return (-nlls).float().cpu().numpy()

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
        weights = str(self._weights)
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
        apart = float(np.abs(theirs - self._thinks()).mean())
        if apart > self._allowed:
            raise Misfit(
                f"has not taken all of the student's weights: its scores of {POSITIONS} tokens "
                f"differ by {apart:.3g} nats in the mean, where {self._allowed:.3g} are allowed. On"
                " a CPU vLLM keeps a head that is tied to the embedding: serve on a GPU, train a "
                "student whose head is its own, or use writer=local"
            )
