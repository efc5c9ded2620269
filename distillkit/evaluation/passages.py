"""Quality on running text, where nothing is asked: how well it is foretold, and by whom better."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from distillkit.core.types import Answer, Example
from distillkit.datasets.judging import answered
from distillkit.distributed.placement import ALONE, Placement
from distillkit.divergences.apart import log_probs
from distillkit.divergences.base import kl
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.likelihood import rows_within
from distillkit.models.sampling import Sampling

BEGINNING = 32
"""Most tokens of a passage that a sample goes on from."""
CONTINUED = 8
"""Passages that are gone on from, to be looked at."""
CHUNK_MB = 64
"""Logits of both models that are alive at once; what is made of them takes a few times as much."""


@dataclass(frozen=True, slots=True)
class PassageQuality:
    """What was found on some passages."""

    nll: float
    """Mean negative log-likelihood of a token in nats."""
    bits_per_byte: float
    """The same over the UTF-8 bytes of the text, in bits: one unit for all tokenizers. An end token
    counts its bits, and has no byte."""
    kl_to_teacher: float | None
    """Mean KL(teacher || model) at a token in nats; None without a teacher."""
    count: int
    """Passages."""
    answers: Sequence[Answer]
    """Continuations of the first of them."""

    @property
    def score(self) -> float:
        """What 'best' means, higher is better: likelihood."""
        return -self.nll

    def numbers(self) -> dict[str, float]:
        """Flat numbers for trackers."""
        divergence = {} if self.kl_to_teacher is None else {"kl_to_teacher": self.kl_to_teacher}
        likelihood = {"nll": self.nll, "perplexity": perplexity(self.nll)}
        return {**likelihood, "bits_per_byte": self.bits_per_byte, **divergence}


def perplexity(nll: float) -> float:
    """exp of nats a token; infinite where that is beyond a number."""
    return math.exp(nll) if nll < 700 else math.inf


def continued(
    model: LanguageModel,
    examples: Sequence[Example],
    *,
    sampling: Sampling,
    poll: Callable[[], None],
) -> list[Answer]:
    """Go on greedily from what is given of a few passages, else from their beginnings."""
    chosen = [example for example in examples if example.reference][:CONTINUED]
    beginnings: list[tuple[int, ...]] = []
    for example in chosen:
        ids = model.reference_ids(example)
        begun = max(1, min(BEGINNING, len(ids) // 2, model.context // 2))
        beginnings.append(() if example.opening else ids[:begun])
    prompts = [
        [*model.prompts.prompt_ids(example), *ids]
        for example, ids in zip(chosen, beginnings, strict=True)
    ]
    written = generate(model, prompts, sampling, seed=0, poll=poll)
    found = []
    for example, ids, response in zip(chosen, beginnings, written, strict=True):
        begun = model.tokenizer.decode(ids, skip_special_tokens=True)
        given = replace(example, opening=example.opening + begun)
        found.append(answered(given, response, model.tokenizer))
    return found


def mean_kl(
    model: LanguageModel,
    teacher: LanguageModel,
    examples: Sequence[Example],
    *,
    batch_size: int,
    poll: Callable[[], None],
    placement: Placement = ALONE,
) -> float:
    """Mean KL(teacher || model) at a token of the references in nats, NaN without references."""
    mine = placement.mine(examples)
    found = placement.together(lambda: _nats(model, teacher, mine, batch_size, poll))
    return mean_of(found, placement)


def mean_of(nats_and_tokens: tuple[float, int], placement: Placement) -> float:
    """Nats a token over all processes; NaN without a token."""
    nats, tokens = nats_and_tokens
    totals = placement.add_up({"nats": nats, "tokens": tokens})
    return totals["nats"] / totals["tokens"] if totals["tokens"] else float("nan")


def _nats(
    model: LanguageModel,
    teacher: LanguageModel,
    examples: Sequence[Example],
    batch_size: int,
    poll: Callable[[], None],
) -> tuple[float, int]:
    """Summed KL(teacher || model) at the tokens of the references, and how many they are."""
    known = sorted((e for e in examples if e.reference), key=lambda e: len(e.reference))
    nats, count = 0.0, 0
    with evaluating(model), evaluating(teacher):
        for start in range(0, len(known), batch_size):
            poll()
            part = known[start : start + batch_size]
            sides = model, teacher
            prompts = [[side.prompts.prompt_ids(example) for example in part] for side in sides]
            rooms = [
                min(side.context - len(row) for side, row in zip(sides, rows, strict=True))
                for rows in zip(*prompts, strict=True)
            ]
            texts = [
                model.reference_ids(example)[:room]
                for example, room in zip(part, rooms, strict=True)
            ]
            hidden = [
                side.hidden(side.batch(asked, texts))
                for side, asked in zip(sides, prompts, strict=True)
            ]
            rows = rows_within(CHUNK_MB, model.vocabulary)
            for mine, theirs in zip(*(states.split(rows) for states in hidden), strict=True):
                own, right = model.head.logits(mine), teacher.head.logits(theirs)
                found = kl(log_probs(right), log_probs(own))
                nats += found.sum(dtype=torch.float64).item()
            count += sum(map(len, texts))
    return nats, count
