"""Corpus BLEU and chrF against the references, by sacrebleu (arXiv:1804.08771)."""

from collections.abc import Mapping, Sequence

import numpy as np

from distillkit.core.spec import spec
from distillkit.metrics.base import Sums, Tally
from distillkit.metrics.evidence import Evidence, Whose
from distillkit.metrics.references import references


@spec("metric/bleu")
class Bleu(Sums):
    """Of greedy responses, from 0 to 100: ``bleu`` (tokenizer 13a) and ``chrf``.

    Both are made of counts of the whole corpus, so records hold counts, not scores.
    """

    def measure(self, evidence: Evidence) -> Tally:
        return Tally(
            {
                example.id: {
                    "bleu": bleu_counts(text.text, known),
                    "chrf": chrf_counts(text.text, known),
                }
                for example, text in zip(evidence.examples, evidence.greedy(Whose.own), strict=True)
                if (known := references(example))
            }
        )

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        if not sums:
            return {}
        written, wanted, *counts = map(int, sums["bleu"])
        from sacrebleu.metrics import BLEU, CHRF

        # The smoothing of corpus_bleu, which compute_bleu leaves out unless asked.
        bleu = BLEU.compute_bleu(counts[::2], counts[1::2], written, wanted, smooth_method="exp")
        chrf = CHRF()._compute_f_score(sums["chrf"].tolist())
        return {"bleu": float(bleu.score), "chrf": float(chrf)}


def bleu_counts(text: str, known: Sequence[str]) -> list[float]:
    """Tokens written, tokens wanted, then matching and all n-grams of each order."""
    from sacrebleu.metrics import BLEU

    score = BLEU().corpus_score([text], [[one] for one in known])
    orders = zip(score.counts, score.totals, strict=True)
    return [score.sys_len, score.ref_len, *(count for order in orders for count in order)]


def chrf_counts(text: str, known: Sequence[str]) -> list[float]:
    """N-grams written, wanted and matching, of each order."""
    from sacrebleu.metrics import CHRF

    # Its scores, unlike BLEU's, do not show what they were made of.
    (counts,) = CHRF()._extract_corpus_statistics([text], [[one] for one in known])
    return list(counts)
