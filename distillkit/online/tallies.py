"""What rows of served requests come to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Rows = Sequence[Mapping[str, Any]]


def tally(rows: Rows) -> dict[str, float]:
    """Acceptance over all verified proposals, twice, and tokens of a round.

    ``alpha`` is the mean chance that a proposal is accepted, sum of min(p, q); ``accepted`` the
    share that was. The first has less noise, and both have one expectation.
    """
    sums = {
        key: sum(row[key] for row in rows)
        for key in ("overlap", "accepted", "verified", "tokens", "rounds")
    }
    if not sums["verified"]:
        return {}
    return {
        "alpha": sums["overlap"] / sums["verified"],
        "accepted": sums["accepted"] / sums["verified"],
        "tokens_per_round": sums["tokens"] / sums["rounds"],
    }


def by_domain(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each domain, in their order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["domain"], []).append(row)
    return found


def ends(rows: Rows, share: float = 0.1) -> tuple[Rows, Rows]:
    """The first and the last so many of them, at least one."""
    count = max(1, round(share * len(rows)))
    return rows[:count], rows[-count:]


def rolling(rows: Rows, window: int) -> list[float]:
    """Alpha over each row and those before it, at most so many."""
    overlap, verified = (
        np.concatenate([[0.0], np.cumsum([row[key] for row in rows])])
        for key in ("overlap", "verified")
    )
    last = np.arange(1, len(rows) + 1)
    first = np.maximum(0, last - window)
    counted = np.maximum(1, verified[last] - verified[first])
    return ((overlap[last] - overlap[first]) / counted).tolist()


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile."""
    if not seconds:
        return {}
    half, most = np.quantile(seconds, [0.5, 0.95])
    return {"p50": float(half), "p95": float(most)}
