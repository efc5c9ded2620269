"""How much own samples differ: Distinct-n (arXiv:1510.03055) and Self-BLEU (arXiv:1802.01886)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import fsum
from typing import Any

import numpy as np

from distillkit.core.spec import spec
from distillkit.metrics.base import Metric, Record, Tally
from distillkit.metrics.evidence import Evidence, Whose

ORDERS = (1, 2, 3, 4)


@spec("metric/diversity")
class Diversity(Metric):
    """``distinct_1`` to ``distinct_4``, and ``self_bleu`` from 0 (diverse) to 100 (deterministic).

    Distinct-n is the share of different n-grams among all n-grams of all own samples together.
    Words are what white space parts. It falls as texts are added, so compare equal numbers of
    examples and samples alone.

    Self-BLEU takes each sample of a prompt against all others of that prompt as references:
    sacrebleu's sentence BLEU-4, tokenizer 13a, exponential smoothing, effective order; then the
    mean over all samples. Left out where prompts have one sample. It has intervals by resampling,
    Distinct-n has none. GKD (arXiv:2306.13649) does not
    state its recipe.
    """

    def measure(self, evidence: Evidence) -> Tally:
        records = {}
        for example, samples in zip(evidence.examples, evidence.samples(Whose.own), strict=True):
            evidence.poll()
            texts = [sample.text for sample in samples]
            scores = self_bleu(texts)
            records[example.id] = {"texts": texts, "self_bleu": [fsum(scores), len(scores)]}
        return Tally(records)

    def compute(self, records: Sequence[Record]) -> dict[str, float]:
        texts = [text.split() for record in records for text in record.get("texts", ())]
        numbers = {}
        for order in ORDERS:
            grams = [gram for words in texts for gram in n_grams(words, order)]
            if grams:
                numbers[f"distinct_{order}"] = len(set(grams)) / len(grams)
        scores = [record["self_bleu"] for record in records if "self_bleu" in record]
        total, count = (fsum(score[place] for score in scores) for place in (0, 1))
        return {**numbers, "self_bleu": total / count} if count else numbers

    def redrawn(
        self, records: Sequence[Record], counts: np.ndarray
    ) -> Iterator[Mapping[str, float]]:
        """Each number plus what every record's absence would change, as often as it is drawn.

        The linear part of a bootstrap. An example that is really drawn twice would repeat itself,
        which nobody wrote, and fewer examples always look more diverse.
        """
        numbers = self.compute(records)
        extra = (counts - 1) / len(records)
        columns = {
            name: value + extra @ ((len(records) - 1) * (value - _without_each(records, name)))
            for name, value in numbers.items()
        }
        for row in range(len(counts)):
            yield {name: float(column[row]) for name, column in columns.items()}


def _without_each(records: Sequence[Record], name: str) -> np.ndarray:
    """A number without each record in turn [n]; NaN where nothing would be left."""
    if name == "self_bleu":
        parts = np.array([record.get("self_bleu", (0.0, 0)) for record in records])
        left = parts.sum(0) - parts
    else:
        texts = [[text.split() for text in record.get("texts", ())] for record in records]
        order = int(name.removeprefix("distinct_"))
        found = [[gram for words in some for gram in n_grams(words, order)] for some in texts]
        holders = Counter(gram for grams in found for gram in set(grams))
        alone = [sum(holders[gram] == 1 for gram in set(grams)) for grams in found]
        lengths = [len(grams) for grams in found]
        left = np.array([len(holders), sum(lengths)]) - np.array([alone, lengths]).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return left[:, 0] / left[:, 1]


def n_grams(words: Sequence[Any], order: int) -> list[tuple[Any, ...]]:
    """Runs of ``order`` words, or tokens."""
    return [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]


def self_bleu(texts: Sequence[str]) -> list[float]:
    """BLEU of each text against the others; nothing of fewer than two."""
    from sacrebleu.metrics import BLEU

    bleu = BLEU(effective_order=True)
    scores = []
    for place, text in enumerate(texts):
        others = [*texts[:place], *texts[place + 1 :]]
        if others:
            # What is there twice is 100 by definition, the empty text too.
            same = text in others
            scores.append(100.0 if same else bleu.sentence_score(text, others).score)
    return scores
