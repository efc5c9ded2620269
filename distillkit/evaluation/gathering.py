"""Evidence about one measured model: made when first asked for, kept item by item, never twice.

Each item lies in the store under a key of everything that it depends on: the weights, the prompt as
the model reads it, the decoding, and for comparisons both models and the text. So evidence cannot
be mixed between models, and whoever needs an item again finds it, whatever run it belongs to.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from distillkit.core.errors import RunError
from distillkit.core.keeper import Keeper
from distillkit.core.seeds import child_seed
from distillkit.core.store import key_of
from distillkit.core.types import Answer, Author, Example, Response
from distillkit.datasets.judging import answered
from distillkit.evaluation.foretelling import foretold
from distillkit.evaluation.harness.benchmark import benchmark
from distillkit.evaluation.parts import Decoding, Judged, Measured
from distillkit.evaluation.scoring import COLUMNS, as_compared, likelihoods, side_by_side
from distillkit.metrics.evidence import (
    BenchmarkSettings,
    Compared,
    Foretold,
    Options,
    PerPosition,
    Whose,
)
from distillkit.models.encoder import Encoder
from distillkit.models.generation import generate

LAYOUT = 1
"""Part of every key; raised whenever the meaning of what is kept changes."""


class ModelEvidence:
    """See :class:`distillkit.metrics.evidence.Evidence`.

    Args:
        name: student, start or teacher.
        subject: the measured model.
        teacher: the teacher, who may be the measured model; None where the run has none.
        reference: the model that stands for the truth; the teacher if None.
        judged: the examples.
        decoding: how texts are written.
        keeper: where everything is kept.
    """

    def __init__(
        self,
        name: str,
        subject: Measured,
        *,
        teacher: Measured | None,
        judged: Judged,
        decoding: Decoding,
        keeper: Keeper,
        reference: Measured | None = None,
    ) -> None:
        self._reference = reference
        self.name, self.examples = name, judged.examples
        self._subject, self._or_no_teacher, self._dataset = subject, teacher, judged.dataset
        self._decoding, self._keeper = decoding, keeper
        self.store, self.poll, self.say = keeper.store, keeper.poll, keeper.say
        self._known: dict[tuple[str, Whose], Any] = {}

    @property
    def _teacher(self) -> Measured:
        if self._or_no_teacher is None:
            raise RunError(
                "a metric compares with a teacher, and this run has none that is a model. Leave it "
                "out."
            )
        return self._or_no_teacher

    def greedy(self, source: Whose) -> Sequence[Answer]:
        return self._once("greedy", source, lambda: self._texts(source, [None]))

    def samples(self, source: Whose) -> Sequence[Sequence[Answer]]:
        def drawn() -> list[list[Answer]]:
            count = self._decoding.samples
            flat = self._texts(source, range(count))
            return [flat[start : start + count] for start in range(0, len(flat), count)]

        return self._once("samples", source, drawn)

    def compared(self, source: Whose) -> Sequence[Sequence[Compared]]:
        return self._once("compared", source, lambda: self._compared(source, self._teacher))

    def foretold(self, source: Whose) -> Sequence[tuple[Foretold, ...]]:
        def judged() -> list[tuple[Foretold, ...]]:
            texts = self._judged(source, self._or_no_teacher)
            return foretold(self._subject, self.examples, texts, layout=LAYOUT, keeper=self._keeper)

        return self._once("foretold", source, judged)

    def reference_log_probs(self) -> Sequence[Sequence[PerPosition]]:
        reference = self._reference
        if reference is None or reference.digest == self._teacher.digest:
            judged = self.compared(Whose.own)
        else:
            judged = self._once("judged", Whose.own, lambda: self._compared(Whose.own, reference))
        return [[text.teacher_log_prob for text in texts] for texts in judged]

    def embeddings(self, encoder: str, texts: Sequence[str]) -> Sequence[np.ndarray]:
        found = Encoder(encoder, device=self._subject.model.device)
        keys = [key_of(LAYOUT, "embedding", found.digest, text) for text in texts]

        def embed(part: Sequence[int]) -> list[bytes]:
            return [vector.tobytes() for vector in found([texts[row] for row in part])]

        lengths = [len(text) for text in texts]
        kept = self._keeper.get("embeddings", keys, lengths=lengths, make=embed)
        return [np.frombuffer(value, dtype=np.float32) for value in kept]

    def options(self) -> Sequence[Options | None]:
        return self._once("options", Whose.own, self._options)

    def benchmark(self, settings: BenchmarkSettings) -> Mapping[str, Mapping[str, Sequence[float]]]:
        model = self._subject.model
        about = key_of(LAYOUT, self._subject.digest, model.tokenizer.get_vocab())
        return benchmark(
            model, settings, store=self.store, fingerprint=about, poll=self.poll, say=self.say
        )

    def _once(self, kind: str, source: Whose, make: Callable[[], Any]) -> Any:
        # The teacher's own text is its text as a teacher.
        teacher = self._or_no_teacher
        if teacher and self._subject.digest == teacher.digest and source is Whose.own:
            source = Whose.teacher
        if (kind, source) not in self._known:
            self._known[kind, source] = make()
        return self._known[kind, source]

    def _author(self, source: Whose) -> Measured:
        assert source is not Whose.dataset
        return self._teacher if source is Whose.teacher else self._subject

    def _texts(self, source: Whose, numbers: Sequence[int | None]) -> list[Answer]:
        """One text for each example and number, examples outermost; number None is greedy."""
        author, decoding = self._author(source), self._decoding
        temperature = 0.0 if numbers[0] is None else 1.0
        sampling = decoding.sampling(temperature)
        rows = [(example, number) for example in self.examples for number in numbers]
        prompts = [author.model.prompts.prompt_ids(example) for example, _ in rows]
        seeds = [
            0 if number is None else child_seed(decoding.seed, "evaluation", example.id, number)
            for example, number in rows
        ]
        about = [author.digest, sorted(author.model.stop_ids), temperature]
        about.append(sampling.max_new_tokens)
        keys = [
            key_of(LAYOUT, "text", *about, prompt, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

        def write(part: Sequence[int]) -> list[bytes]:
            written = generate(
                author.model,
                [prompts[row] for row in part],
                sampling,
                seed=[seeds[row] for row in part],
                poll=self.poll,
            )
            kept = ({"tokens": text.tokens, "truncated": text.truncated} for text in written)
            return [json.dumps(text).encode() for text in kept]

        lengths = [len(prompt) for prompt in prompts]
        kept = self._keeper.get("texts", keys, lengths=lengths, make=write)
        return [
            self._read(author, example, json.loads(value))
            for (example, _), value in zip(rows, kept, strict=True)
        ]

    def _read(self, author: Measured, example: Example, kept: Mapping[str, Any]) -> Answer:
        response = Response(tuple(kept["tokens"]), kept["truncated"], Author.student)
        tokenizer = author.model.tokenizer
        return answered(example, response, tokenizer, judge=self._dataset, extract=True)

    def _judged(self, source: Whose, teacher: Measured | None) -> list[list[tuple[int, ...]]]:
        """Each example's texts as far as all who judge them can read."""
        if source is Whose.dataset:
            return [self._known_text(example, teacher) for example in self.examples]
        return [
            [text.tokens[: self._room(example, teacher)] for text in several]
            for example, several in zip(self.examples, self.samples(source), strict=True)
        ]

    def _compared(self, source: Whose, teacher: Measured) -> list[list[Compared]]:
        own = self._subject
        texts = self._judged(source, teacher)
        rows = [
            (example, tokens)
            for example, several in zip(self.examples, texts, strict=True)
            for tokens in several
        ]
        prompts = [
            (teacher.model.prompts.prompt_ids(example), own.model.prompts.prompt_ids(example))
            for example, _ in rows
        ]
        about = (LAYOUT, "compared", teacher.digest, own.digest)
        keys = [
            key_of(*about, *pair, tokens) for pair, (_, tokens) in zip(prompts, rows, strict=True)
        ]

        def score(part: Sequence[int]) -> list[bytes]:
            tables = side_by_side(
                teacher.model,
                own.model,
                [prompts[row] for row in part],
                [rows[row][1] for row in part],
            )
            return [table.tobytes() for table in tables]

        lengths = [len(tokens) for _, tokens in rows]
        kept = self._keeper.get("comparisons", keys, lengths=lengths, make=score)
        found = map(_table, kept)
        return [[as_compared(next(found)) for _ in several] for several in texts]

    def _known_text(self, example: Example, teacher: Measured | None) -> list[tuple[int, ...]]:
        """The dataset's text as a response, closed and cut as in training; none where none is."""
        if not example.reference:
            return []
        whole = self._subject.model.reference_ids(example)
        return [whole[: self._room(example, teacher)]]

    def _room(self, example: Example, teacher: Measured | None) -> int:
        """Tokens of a response that both models can read, after prompts that they can."""
        sides = [side.model for side in (self._subject, teacher) if side is not None]
        return min(side.context - side.prompt_length(example) for side in sides)

    def _options(self) -> list[Options | None]:
        own, prompts = self._subject, self._subject.model.prompts
        rows = [
            (prompts.prompt_ids(example), prompts.text_ids(option))
            for example in self.examples
            for option in example.options
        ]
        keys = [key_of(LAYOUT, "likelihood", own.digest, *row) for row in rows]

        def score(part: Sequence[int]) -> list[bytes]:
            some = [rows[row] for row in part]
            found = likelihoods(own.model, [row[0] for row in some], [row[1] for row in some])
            return [json.dumps(value).encode() for value in found]

        lengths = [len(option) for _, option in rows]
        values = map(json.loads, self._keeper.get("options", keys, lengths=lengths, make=score))
        return [
            self._weighed(example, [next(values) for _ in example.options])
            for example in self.examples
        ]

    def _weighed(self, example: Example, log_probs: Sequence[float]) -> Options | None:
        right = [self._dataset.is_correct(example, option) for option in example.options]
        if sum(right) != 1:
            return None
        odds = np.exp(np.array(log_probs) - max(log_probs))
        return Options(tuple((odds / odds.sum()).tolist()), right.index(True))


def _table(value: bytes) -> np.ndarray:
    return np.frombuffer(value, dtype=np.float32).reshape(len(COLUMNS), -1)
