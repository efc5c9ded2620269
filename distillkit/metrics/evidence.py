"""What metrics ask for: texts, the two models' numbers on them, and likelihoods of options.

Metrics see this protocol alone. Who makes the evidence, and where it is kept, is not their matter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from jaxtyping import Float

from distillkit.core.store import Store
from distillkit.core.types import Answer, Example


class Whose(StrEnum):
    """Whose text."""

    dataset = "dataset"
    teacher = "teacher"
    own = "own"


PerPosition = Float[np.ndarray, "T"]
"""One number for each token of a response, its end token included."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The teacher and the measured model on one text, position by position.

    Both read the same tokens. Position t holds what each predicts for token t from the prompt and
    the tokens before it, so the first token of the response is counted. All at temperature 1 over
    the real vocabulary, in nats.
    """

    teacher_log_prob: PerPosition
    """Of the token, under the teacher."""
    log_prob: PerPosition
    """Of the token, under the measured model."""
    teacher_entropy: PerPosition
    """Of the teacher's distribution."""
    entropy: PerPosition
    """Of the measured model's."""
    forward_kl: PerPosition
    """KL(teacher || measured)."""
    reverse_kl: PerPosition
    """KL(measured || teacher)."""
    overlap: PerPosition
    """Sum over the vocabulary of min(teacher, measured), which is 1 - total variation."""
    top1: PerPosition
    """1 where both have the same likeliest token, else 0."""
    top5: PerPosition
    """Share of the five likeliest tokens that both have in common."""
    confidence: PerPosition
    """Probability of the measured model's likeliest token."""
    hit: PerPosition
    """1 where that is the token of the text, else 0."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """One text under the measured model alone."""

    log_prob: PerPosition
    """Of each token in nats, the end token's where the text has one."""
    size: int
    """UTF-8 bytes of the text that these tokens are."""


@dataclass(frozen=True, slots=True)
class Options:
    """Probabilities of an example's answer options under the measured model."""

    probabilities: tuple[float, ...]
    """Normalised over the options."""
    right: int
    """Position of the right one."""


@dataclass(kw_only=True, slots=True)
class BenchmarkSettings:
    """What lm-evaluation-harness is asked for."""

    tasks: list[str] = field(default_factory=lambda: ["gsm8k", "arc_easy", "piqa"])
    """Of gsm8k, gsm8k_zeroshot, svamp, multiarith, singleeq, addsub, aqua, hellaswag, boolq, siqa,
    piqa, arc_easy, arc_challenge, winogrande, openbookqa, commonsenseqa, strategyqa, mmlu, bbh, or
    any other name that ``lm_eval ls tasks`` lists."""
    path: str | None = None
    """Folder of JSONL datasets (``<path>/gsm8k/test.jsonl``); null reads the hub's."""
    limit: int | None = None
    """First documents of each task; null for all, which a number to be reported needs."""
    fewshot: int | None = None
    """Examples shown before each question; null for the task's own number."""
    longest: int | None = None
    """Most tokens of a generated answer; null for the task's own limit, mostly 256."""
    chat: bool = False
    """Put prompts into the tokenizer's chat template, as instruct models expect."""
    batch_size: int = 8
    """Prompts read at once; changes numbers by rounding only."""


class Evidence(Protocol):
    """Everything known about one measured model on some examples, made when first asked for.

    Every sequence is aligned with ``examples``.
    """

    @property
    def name(self) -> str:
        """Whom it is about: student, start or teacher."""

    @property
    def examples(self) -> Sequence[Example]:
        """The examples."""

    @property
    def store(self) -> Store:
        """Where metrics keep replies of their own that must not be paid for twice."""

    @property
    def poll(self) -> Callable[[], None]:
        """To be called between pieces of long work; raises to stop."""

    @property
    def say(self) -> Callable[[str], None]:
        """Takes a line for the person who waits."""

    def greedy(self, source: Whose) -> Sequence[Answer]:
        """The likeliest response by ``own`` or ``teacher``, token by token."""

    def samples(self, source: Whose) -> Sequence[Sequence[Answer]]:
        """Several responses each by ``own`` or ``teacher``, drawn at temperature 1."""

    def compared(self, source: Whose) -> Sequence[Sequence[Compared]]:
        """Both models on each of ``samples(source)``, or on the one reference of the dataset.

        An example without a reference has none.
        """

    def foretold(self, source: Whose) -> Sequence[tuple[Foretold, ...]]:
        """The measured model on the texts that ``compared`` compares; needs no teacher to judge."""

    def reference_log_probs(self) -> Sequence[Sequence[PerPosition]]:
        """Of the tokens of each of ``samples(own)``, under the model that stands for the truth.

        It is the teacher unless another was named.
        """

    def embeddings(self, encoder: str, texts: Sequence[str]) -> Sequence[np.ndarray]:
        """A vector of length 1 for each text by an encoder of transformers.

        Args:
            encoder: hub name or folder.
            texts: any.
        """

    def options(self) -> Sequence[Options | None]:
        """The measured model's answer options; None where the example has none."""

    def benchmark(self, settings: BenchmarkSettings) -> Mapping[str, Mapping[str, Sequence[float]]]:
        """The measured model's benchmark scores: ``gsm8k/0`` to ``gsm8k/acc`` to [sum, weight].

        A record for each document, and one for a whole task where a number is no mean over them.
        """
