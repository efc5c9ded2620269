"""What the study found, as rows of its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distillkit.programs.study.order.outcomes import Outcome, difference, reach
from distillkit.run_studies import Equal, OrderStudy
from distillkit.statistics.correction import holm
from distillkit.statistics.finding import Finding

Row = dict[str, Any]

ALL = "all"
"""Budget of runs that may read every label."""

PUBLISHED: dict[tuple[float | None, str], float] = {
    (0.0, "forward KL"): 4.7,
    (0.0, "JSD 0.1"): 5.1,
    (0.0, "JSD 0.5"): 5.1,
    (0.0, "JSD 0.9"): 5.0,
    (0.0, "reverse KL"): 5.7,
    (0.5, "forward KL"): 6.8,
    (0.5, "JSD 0.1"): 6.2,
    (0.5, "JSD 0.5"): 6.4,
    (0.5, "JSD 0.9"): 5.9,
    (0.5, "reverse KL"): 6.9,
    (1.0, "forward KL"): 8.8,
    (1.0, "JSD 0.1"): 7.6,
    (1.0, "JSD 0.5"): 7.0,
    (1.0, "JSD 0.9"): 6.7,
    (1.0, "reverse KL"): 8.0,
}
"""Points that T5-base gained on GSM8K (arXiv:2306.13649), by lambda and divergence."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Outcomes of all cells."""

    run: OrderStudy
    equal: Mapping[Equal, Mapping[str, Outcome]]
    """By what is equal, and method."""
    labels: Mapping[tuple[str, int], Outcome]
    """By method and budget."""
    gkd: Mapping[tuple[str, str], Outcome]
    """By policy and divergence."""
    writing: Mapping[str, float]
    """Seconds in which the teacher wrote a method's text."""

    @property
    def baseline(self) -> str:
        """The method that the others are compared with."""
        return next(iter(self.run.methods))

    @property
    def measure(self) -> str:
        """What scores are."""
        first = self.equal[Equal.steps][self.baseline]
        return "accuracy, %" if first.right is not None else "minus nats a token"

    @property
    def scale(self) -> float:
        """From scores to the numbers of tables."""
        return 100.0 if self.measure.endswith("%") else 1.0

    def equal_rows(self) -> list[Row]:
        """A row for each method under whatever is equal; p is corrected inside of each."""
        rows: list[Row] = []
        for equal, found in self.equal.items():
            rows += self._compared(
                [({"equal": str(equal), "method": name}, each) for name, each in found.items()],
                found.get(self.baseline),
            )
        return rows

    def cost_rows(self) -> list[Row]:
        """What the runs behind :meth:`equal_rows` took; seconds are never the same twice."""
        return [
            {"equal": str(equal), "method": name, "steps": each.steps, "tokens": each.tokens}
            | dict(each.budget)
            | {"seconds": each.seconds, "writing_seconds": self.writing[name]}
            for equal, found in self.equal.items()
            for name, each in found.items()
        ]

    def label_rows(self) -> list[Row]:
        """Every method under every budget; who reads no label has the same runs under all."""
        whole = self.equal[Equal.steps]
        rows: list[Row] = []
        for budget in [*self.run.labels, ALL]:
            found = {name: self.labels.get((name, budget), whole[name]) for name in whole}  # type: ignore[arg-type]
            rows += self._compared(
                [
                    ({"labels": budget, "method": name, "read": each.budget["gold_labels"]}, each)
                    for name, each in found.items()
                ],
                found[self.baseline],
            )
        return rows

    def gkd_rows(self) -> list[Row]:
        """Gains over the student before, which is held fixed, beside those of the paper."""
        rows = []
        for (policy, divergence), each in self.gkd.items():
            gain = self.scale * (each.mean - each.start)
            ends = reach(each)
            low, high = (
                (None, None) if ends is None else (self.scale * (end - each.start) for end in ends)
            )
            row = {"lambda": policy, "divergence": divergence, **self._scored(each)}
            rows.append(
                row
                | {"gain": gain, "gain_low": low, "gain_high": high}
                | {"published_gain": PUBLISHED.get((number(policy), divergence))}
            )
        return rows

    def _compared(self, named: Sequence[tuple[Row, Outcome]], against: Outcome | None) -> list[Row]:
        found = [
            None if against is None or each is against else difference(each, against)
            for _, each in named
        ]
        tested = {place: gain.p for place, gain in enumerate(found) if gain and gain.p is not None}
        corrected = dict(zip(tested, holm([*tested.values()]), strict=True))
        return [
            {**name, **self._scored(each), **self._gained(gain), "p_holm": corrected.get(place)}
            for place, ((name, each), gain) in enumerate(zip(named, found, strict=True))
        ]

    def _scored(self, outcome: Outcome) -> Row:
        ends = reach(outcome)
        low, high = (None, None) if ends is None else (self.scale * end for end in ends)
        seeds = zip(self.run.seeds, outcome.scores, strict=True)
        return {
            "steps": outcome.steps,
            "rate": outcome.rate,
            **{f"seed_{seed}": self.scale * score for seed, score in seeds},
            "mean": self.scale * outcome.mean,
            "low": low,
            "high": high,
        }

    def _gained(self, gain: Finding | None) -> Row:
        parts = {"gain": "estimate", "gain_low": "low", "gain_high": "high"}
        values = {key: None if gain is None else getattr(gain, part) for key, part in parts.items()}
        return {key: None if value is None else self.scale * value for key, value in values.items()}


def number(policy: str) -> float | None:
    """Lambda, of a policy that is named by it."""
    try:
        return float(policy)
    except ValueError:
        return None
