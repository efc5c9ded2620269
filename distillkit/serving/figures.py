"""What a service counts, as Prometheus reads it; nothing of anybody's text."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from distillkit.online.tallies import tally

WINDOW = 50
"""Requests over which acceptance is shown."""

SUMS = {
    "tokens": "Tokens written.",
    "rounds": "Passes of the target.",
    "verified": "Proposals that were accepted or replaced.",
    "accepted": "Proposals that were accepted.",
    "overlap": "Sum of the chances that they would be.",
    "updates": "Updates of the draft.",
    "updates_refused": "Updates that went wrong.",
    "update_seconds": "Seconds of updates, saving included.",
    "serving_seconds": "Seconds in which requests were answered.",
}
"""What only grows."""
GAUGES = {
    "alpha": f"Mean chance that a proposal is accepted, over {WINDOW} requests.",
    "tokens_per_round": f"Tokens of a round, over {WINDOW} requests.",
    "waiting": "Requests that wait.",
    "draft_version": "How often the draft has learned, in all.",
    "buffer_bytes": "Labels that wait to be learned from.",
}
"""What rises and falls."""


class Figures:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=WINDOW)
        own = self.registry
        self.responses = Counter(
            "distillkit_responses", "Responses by status code.", ["status"], registry=own
        )
        self._sums = {
            name: Counter(f"distillkit_{name}", said, registry=own) for name, said in SUMS.items()
        }
        self._gauges = {
            name: Gauge(f"distillkit_{name}", said, registry=own) for name, said in GAUGES.items()
        }
        self.latency = Histogram(
            "distillkit_latency_seconds",
            "From a request's arrival to its last token.",
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60),
            registry=own,
        )

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to one of :data:`SUMS`."""
        self._sums[name].inc(amount)

    def show(self, name: str, value: float) -> None:
        """Set one of :data:`GAUGES`."""
        self._gauges[name].set(value)

    def served(self, row: Mapping[str, Any]) -> None:
        """Count one request that was answered."""
        for name in ("tokens", "rounds", "verified", "accepted", "overlap"):
            self.count(name, row[name])
        self._recent.append(row)
        for name, value in tally([*self._recent]).items():
            if name in GAUGES:
                self.show(name, value)
