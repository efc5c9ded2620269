"""Whether probabilities mean what they say: expected calibration error (arXiv:1706.04599)."""

from collections.abc import Iterator, Mapping, Sequence
from math import fsum
from typing import ClassVar

import numpy as np

from distillkit.core.bounds import MANY, POSITIVE, check_bound, check_range
from distillkit.core.spec import spec
from distillkit.metrics.base import Metric, Record, Tally
from distillkit.metrics.evidence import Evidence, Whose

Pairs = np.ndarray
"""Confidences and hits [2, N]."""


@spec("metric/calibration")
class Calibration(Metric):
    """``token_ece`` on the dataset's text, ``option_ece`` on answer options, ``option_accuracy``.

    A token's confidence is the probability of the likeliest one, which hits where it is the
    text's. An example's is the probability of the likeliest option, which hits where it is right.
    The error is the mean over bins of the distance between hits and confidence, weighted by their
    counts. Bins are of equal width, open below and closed above, or (``_equal_mass``) of equal
    counts, save that equal confidences share the bin of their middle rank.
    """

    COMPARES: ClassVar = True

    bins: int = 15
    """Bins of either kind."""

    def __post_init__(self) -> None:
        check_range(self, "metric.calibration.", POSITIVE, "bins")
        check_bound("metric.calibration.bins", self.bins, MANY)

    def measure(self, evidence: Evidence) -> Tally:
        records = {}
        compared, asked = evidence.compared(Whose.dataset), evidence.options()
        for example, texts, options in zip(evidence.examples, compared, asked, strict=True):
            record: dict[str, list[list[float]]] = {}
            if texts:
                sides = ([text.confidence for text in texts], [text.hit for text in texts])
                record["token"] = [np.concatenate(side).tolist() for side in sides]
            if options is not None:
                confidence = max(options.probabilities)
                hit = options.probabilities.index(confidence) == options.right
                record["option"] = [[confidence], [float(hit)]]
            if record:
                records[example.id] = record
        return Tally(records)

    def compute(self, records: Sequence[Record]) -> dict[str, float]:
        numbers = {}
        for kind, pairs in _joined(records).items():
            numbers[f"{kind}_ece"] = calibration_error(pairs, equal_width(pairs[0], self.bins))
            numbers[f"{kind}_ece_equal_mass"] = calibration_error(
                pairs, equal_mass(pairs[0], self.bins)
            )
            if kind == "option":
                numbers["option_accuracy"] = fsum(pairs[1]) / len(pairs[1])
        return numbers

    def redrawn(
        self, records: Sequence[Record], counts: np.ndarray
    ) -> Iterator[Mapping[str, float]]:
        """As the base says, in bins that stay where all records put them."""
        columns: dict[str, np.ndarray] = {}
        for kind in _joined(records):
            empty: list[list[float]] = [[], []]
            parts = [np.array(record.get(kind, empty), dtype=float) for record in records]
            sizes = [part.shape[1] for part in parts]
            owner = np.repeat(np.arange(len(records)), sizes)
            confidence, hits = np.concatenate(parts, axis=1)
            drawn = counts @ sizes
            for name, binned in (("", equal_width), ("_equal_mass", equal_mass)):
                cells = owner * self.bins + binned(confidence, self.bins)
                gaps = np.bincount(cells, hits - confidence, len(records) * self.bins)
                totals = counts @ gaps.reshape(len(records), self.bins)
                columns[f"{kind}_ece{name}"] = _over(abs(totals).sum(-1), drawn)
            if kind == "option":
                right = np.bincount(owner, hits, len(records))
                columns["option_accuracy"] = _over(counts @ right, drawn)
        for row in range(len(counts)):
            yield {name: float(column[row]) for name, column in columns.items()}

    def curves(self, records: Sequence[Record]) -> dict[str, dict[str, list[float]]]:
        """Reliability diagrams, ``tokens`` and ``options``: the bins of equal width with members.

        Columns ``confidence`` and ``accuracy`` are means, ``count`` is the number of members.
        """
        pictures = {}
        for kind, pairs in _joined(records).items():
            sums = bin_sums(pairs, equal_width(pairs[0], self.bins))
            pictures[f"{kind}s"] = {
                "confidence": [confidence / count for confidence, _, count in sums],
                "accuracy": [hits / count for _, hits, count in sums],
                "count": [float(count) for *_, count in sums],
            }
        return pictures


def equal_width(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Place of each confidence [N] among bins (0, 1/bins], (1/bins, 2/bins] and so on."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")


def equal_mass(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Place of each confidence [N] among bins of equal counts, by its rank; ties stay together."""
    _, groups, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    twice_the_middle = 2 * ends - counts
    return (bins * twice_the_middle // (2 * len(confidence)))[groups]


def bin_sums(pairs: Pairs, places: np.ndarray) -> list[tuple[float, float, int]]:
    """Confidence, hits and number of each bin's members, of bins that have any."""
    members = [pairs[:, places == place] for place in np.unique(places)]
    return [(fsum(part[0]), fsum(part[1]), part.shape[1]) for part in members]


def calibration_error(pairs: Pairs, places: np.ndarray) -> float:
    """Mean distance of confidence and hits over bins, weighted by their counts."""
    gaps = [abs(hits - confidence) for confidence, hits, _ in bin_sums(pairs, places)]
    return fsum(gaps) / pairs.shape[1]


def _over(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Quotients, NaN where nothing was drawn."""
    with np.errstate(invalid="ignore"):
        return totals / counts


def _joined(records: Sequence[Record]) -> dict[str, Pairs]:
    """All pairs of each kind."""
    pairs = {}
    for kind in ("token", "option"):
        parts = [record[kind] for record in records if kind in record]
        if parts:
            pairs[kind] = np.concatenate([np.array(part, dtype=float) for part in parts], axis=1)
    return pairs
