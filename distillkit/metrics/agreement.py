"""Same final answers as the teacher's (arXiv:2505.15442, section 4)."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose


@spec("metric/agreement")
class Agreement(Ratios):
    """Of greedy answers: ``agreement``, and its split by whether the teacher is right.

    Over examples whose answers are judged. Answers agree where they are spelt alike as the
    dataset reads them. One that cannot be read agrees with nothing, not even its like:
    ``parse_rate`` of ``metric/accuracy`` says how many there are.
    """

    COMPARES: ClassVar = True

    def measure(self, evidence: Evidence) -> Tally:
        records = {}
        left, right = evidence.greedy(Whose.own), evidence.greedy(Whose.teacher)
        for example, own, teacher in zip(evidence.examples, left, right, strict=True):
            if teacher.correct is not None:
                same = own.stated is not None and own.stated == teacher.stated
                side = "right" if teacher.correct else "wrong"
                records[example.id] = {
                    name: [float(same), 1] for name in ("agreement", f"agreement_teacher_{side}")
                }
        return Tally(records)

    def finish(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        return dict(sorted(Ratios.finish(self, sums).items()))
