"""Share of right answers, by the dataset's own rule, and of answers that can be read at all."""

from collections.abc import Mapping

import numpy as np

from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose


@spec("metric/accuracy")
class Accuracy(Ratios):
    """Of greedy responses: ``accuracy`` where an answer is known, ``parse_rate`` everywhere."""

    def measure(self, evidence: Evidence) -> Tally:
        records = {}
        for example, text in zip(evidence.examples, evidence.greedy(Whose.own), strict=True):
            record = {"parse_rate": [float(text.stated is not None), 1]}
            if text.correct is not None:
                record["accuracy"] = [float(text.correct), 1]
            records[example.id] = record
        return Tally(records)

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        return dict(sorted(Ratios.finish(self, sums).items()))
