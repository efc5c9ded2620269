"""Precision and recall of a generative model, in likelihoods (arXiv:2505.13111)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

import numpy as np

from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose
from distillkit.metrics.token_mean import token_mean


class Truth(StrEnum):
    """Whose text stands for the truth."""

    dataset = "dataset"
    teacher = "teacher"


@spec("metric/precision_recall")
class PrecisionRecall(Ratios):
    """Mean log-likelihoods of a token in nats: higher is better.

    ``precision`` is that of own samples under the model that stands for the truth (the evaluation's
    ``reference``; the teacher if null), and ``recall`` that of true text under the measured model.
    Every token counts once, as in the paper's corpus averages.
    ``precision_perplexity`` and ``recall_perplexity`` are exp of
    their negatives. ``teacher_entropy`` and ``own_entropy`` are those of both models'
    distributions on own samples: a selective model has a low one.
    """

    COMPARES: ClassVar = True

    truth: Truth = Truth.dataset
    """Whose text recall is about: the ``dataset``'s references, or samples of the ``teacher``."""

    def measure(self, evidence: Evidence) -> Tally:
        judged, both = evidence.reference_log_probs(), evidence.compared(Whose.own)
        given = evidence.compared(Whose(self.truth))
        return Tally(
            {
                example.id: {
                    "precision": token_mean(likely),
                    "recall": token_mean(text.log_prob for text in known),
                    "teacher_entropy": token_mean(text.teacher_entropy for text in own),
                    "own_entropy": token_mean(text.entropy for text in own),
                }
                for example, likely, own, known in zip(
                    evidence.examples, judged, both, given, strict=True
                )
            }
        )

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        means = Ratios.finish(self, sums)
        with np.errstate(over="ignore"):
            perplexities = {
                f"{name}_perplexity": float(np.exp(-means[name]))
                for name in ("precision", "recall")
                if name in means
            }
        return {**means, **perplexities}
