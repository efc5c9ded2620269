"""Opinions of a served model: asked for a whole batch at once, and kept from then on."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray

from distillkit.core.costs import Costs
from distillkit.core.seeds import child_seed
from distillkit.core.store import Store, key_of
from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.divergences.apart import FLOOR
from distillkit.endpoints.questions import Answer
from distillkit.endpoints.server import Correspondent, Wanted
from distillkit.endpoints.tokens import Misfit, Scores, Scoring, Writing
from distillkit.endpoints.vllm import VLLM
from distillkit.models.language_model import LanguageModel
from distillkit.models.prompts import PromptFormat
from distillkit.models.sampling import Sampling
from distillkit.opinions.base import Reader
from distillkit.opinions.served.entries import likeliest, rest_of
from distillkit.opinions.served.meeting import Meeting
from distillkit.opinions.served.settings import ServedTeacher
from distillkit.opinions.sparse import SparseOpinion
from distillkit.supports.base import Sparse

LAYOUT = 1
"""Part of every key; raised whenever the meaning of what is kept changes."""


class ServedReader(Reader):
    """Reads by asking a server.

    Args:
        settings: how it is reached.
        student: whose ids it is asked about.
        prompts: render for it.
        meeting: at which it was met.
        store: keeps all that it says.
        k: entries at each position; 0 for the text's token alone.
        own: whether they are the student's likeliest.
        context: most tokens of prompt and response.
        explain: a sentence of its own on a refusal.
        notes: for the user.
    """

    def __init__(
        self,
        settings: ServedTeacher,
        student: LanguageModel,
        prompts: PromptFormat,
        *,
        meeting: Meeting,
        store: Store,
        k: int,
        own: bool,
        context: int,
        explain: Callable[[int, str], str | None],
        notes: Sequence[str],
    ) -> None:
        self._settings, self._student, self._prompts = settings, student, prompts
        self._k, self._own, self._context, self._notes = k, own, context, notes
        assert meeting.met is not None
        self._engine, self._version = settings.spoken, meeting.met.version
        self._asks = Correspondent(
            settings=settings,
            store=store,
            kind="replies of the teacher",
            explain=explain,
            mend=partial(_meet, settings, meeting),
            least=max(1 << 20, meeting.largest.largest),
            price=settings.price,
        )
        self._known: dict[str, Scores] = {}
        holes = student.head.holes
        self._real = np.ones(student.vocabulary, bool)
        self._real[[] if holes is None else holes.tolist()] = False

    @property
    def context(self) -> int:
        """As the server says, or the user."""
        return self._context

    @property
    def identity(self) -> Mapping[str, str]:
        """Engine, version and name."""
        version = f"{self._engine.NAME} {self._version}"
        return {"engine": version, "model": self._settings.model, "context": str(self._context)}

    @property
    def notes(self) -> Sequence[str]:
        """On how the two fit."""
        return self._notes

    @property
    def costs(self) -> Costs:
        """Of what this process has asked; what was kept costs nothing."""
        return self._asks.costs

    def prompt_length(self, example: Example) -> int:
        """In the served model's format."""
        return len(self._prompts.prompt_ids(example))

    def attend(self, *, poll: Callable[[], None], say: Callable[[str], None]) -> None:
        """A server that is down is waited for as long as nobody asks to stop."""
        self._asks.poll, self._asks.say = poll, say

    def expect(self, rollouts: Sequence[Rollout]) -> None:
        """Have all of them scored, side by side; they are kept until the next batch."""
        self.expect_scores(self._scorings(rollouts))

    def expect_scores(self, asked: Sequence[Scoring]) -> None:
        """The same of ids."""
        self._known = self._ask({self._key(each): each for each in asked})

    def read(self, rollouts: Sequence[Rollout]) -> SparseOpinion:
        """From memory where they were expected."""
        asked = self._scorings(rollouts)
        parts = [self._opinion(*pair) for pair in zip(self._told(asked), asked, strict=True)]
        return parts[0].join(parts[1:])

    def score(self, asked: Sequence[Scoring]) -> list[NDArray[np.float32]]:
        """Log-probabilities of the tokens of responses, [T] each."""
        return [each.drawn for each in self._told(asked)]

    def _told(self, asked: Sequence[Scoring]) -> list[Scores]:
        keys = [self._key(each) for each in asked]
        lacking = {k: e for k, e in zip(keys, asked, strict=True) if k not in self._known}
        known = {**self._known, **self._ask(lacking)}
        return [known[key] for key in keys]

    def texts(
        self, examples: Sequence[Example], sampling: Sampling, *, seed: int
    ) -> dict[str, Response]:
        """By the same server: ids come back, and the token that ended a text is one of them."""
        written: dict[str, Response] = {}
        for start in range(0, len(examples), sampling.batch_size):
            self._asks.poll()
            part = examples[start : start + sampling.batch_size]
            asked = {each.id: self._writing(each, sampling, seed) for each in part}
            keys = {name: self._text_key(each) for name, each in asked.items()}
            wanted = {keys[name]: self._wanted_text(each) for name, each in asked.items()}
            found = self._asks.get(wanted)
            for name, key in keys.items():
                tokens, cut = json.loads(found[key])
                written[name] = Response(tuple(tokens), cut, Author.teacher)
            self._asks.say(f"teacher wrote {len(written)} of {len(examples)}")
        return written

    def _ask(self, asked: Mapping[str, Scoring]) -> dict[str, Scores]:
        wanted = {key: self._wanted(each) for key, each in asked.items()}
        return {key: Scores.unpacked(each) for key, each in self._asks.get(wanted).items()}

    def _scorings(self, rollouts: Sequence[Rollout]) -> list[Scoring]:
        prompts = self._prompts.of([rollout.example for rollout in rollouts])
        own: Sequence[NDArray[np.uint32] | None] = [None] * len(rollouts)
        if self._own:
            own = likeliest(self._student, rollouts, self._k)
        return [
            Scoring(tuple(prompt), rollout.response.tokens, 0 if self._own else self._k, ids)
            for prompt, rollout, ids in zip(prompts, rollouts, own, strict=True)
        ]

    def _key(self, asked: Scoring) -> str:
        own = None if asked.ids is None else sha256(asked.ids.tobytes()).hexdigest()
        return self._named("scores", asked.k, own, asked.prompt, asked.response)

    def _named(self, kind: str, *parts: object) -> str:
        who = self._settings.model, self._engine.NAME, self._version
        return key_of("served", LAYOUT, kind, who, *parts)

    def _wanted(self, asked: Scoring) -> Wanted:
        def read(answer: Answer) -> bytes:
            scores = self._engine.scores(answer, asked)
            self._check_real(scores.ids)
            return scores.packed()

        settings = self._settings
        return Wanted(self._engine.scoring(settings.model, settings.root, asked), read)

    def _check_real(self, ids: NDArray[np.uint32]) -> None:
        beyond = ids[ids >= len(self._real)]
        unreal = beyond if beyond.size else ids[~self._real[ids]]
        if unreal.size:
            raise Misfit(
                f"told of the id {unreal.flat[0]}, which no token of student.name has, so its "
                "head has rows that are no token's. Lower support.k, or choose a student of the "
                "same family"
            )

    def _opinion(self, scores: Scores, asked: Scoring) -> SparseOpinion:
        ids, log_probs = scores.ids, scores.log_probs
        if not ids.shape[1]:
            ids = np.array(asked.response, np.uint32)[:, None]
            log_probs = scores.drawn[:, None]
        others = int(self._real.sum()) - ids.shape[1]
        rest = rest_of(log_probs, others=others, ranked=asked.k > 0)
        tensors = (
            torch.from_numpy(ids.astype(np.int64)),
            torch.from_numpy(np.maximum(log_probs, FLOOR)),
            torch.from_numpy(rest),
        )
        device = self._student.device
        entries = Sparse(*(each.to(device) for each in tensors))
        return SparseOpinion(entries, torch.from_numpy(scores.drawn.copy()).to(device))

    def _writing(self, example: Example, sampling: Sampling, seed: int) -> Writing:
        return Writing(
            prompt=tuple(self._prompts.prompt_ids(example)),
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            max_tokens=sampling.max_new_tokens,
            seed=child_seed(seed, example.id),
            stops=tuple(sorted(self._student.stop_ids)),
        )

    def _text_key(self, asked: Writing) -> str:
        return self._named("text", asdict(asked))

    def _wanted_text(self, asked: Writing) -> Wanted:
        engine = self._engine
        assert isinstance(engine, VLLM), "refused when composing"

        def read(answer: Answer) -> bytes:
            text = engine.text(answer, asked)
            self._check_real(np.array(text.tokens, np.uint32))
            if not text.cut and text.tokens[-1] not in asked.stops:
                raise Misfit(
                    f"ended a text with the id {text.tokens[-1]}, which ends none of the "
                    "student's. Set teacher.tokenizer to a tokenizer whose end token that is"
                )
            return json.dumps([text.tokens, text.cut], separators=(",", ":")).encode()

        return Wanted(engine.writing(self._settings.model, asked), read)


async def _meet(settings: ServedTeacher, meeting: Meeting, client: object) -> bool:
    """The same model is still there, so what it said holds."""
    try:
        await meeting.talk(client)
    except Misfit as words:
        raise settings.misfit(words) from None
    return True
