"""What a stream came to."""

from collections.abc import Mapping
from typing import Any

from distillkit.metrics.speculation import tokens_per_round
from distillkit.online.tallies import Rows, by_domain, ends, quantiles, tally
from distillkit.programs.osd.standing import PROBES, REQUESTS, TIMING, UPDATES


def summarise(rows: Mapping[str, Rows], *, proposals: int) -> dict[str, Any]:
    """The numbers of all requests and of each domain.

    Args:
        rows: of every journal.
        proposals: tokens that a draft proposes in a round.
    """
    served, timing = rows[REQUESTS], rows[TIMING]
    serving, learning = (sum(row[key] for row in timing) for key in ("serving", "learning"))
    return {
        "requests": len(served),
        "updates": len(rows[UPDATES]),
        "seconds": {
            "serving": round(serving, 2),
            "learning": round(learning, 2),
            "learning_over_serving": round(learning / serving, 4) if serving else 0.0,
        },
        "buffer_mb": round(max((row["buffer_bytes"] for row in timing), default=0) / 1e6, 3),
        "latency": quantiles([row["serving"] for row in timing]),
        "all": _foretold(tally(served), proposals),
        "domains": {
            domain: {
                **_foretold(tally(found), proposals),
                "requests": len(found),
                "first": tally(ends(found)[0]),
                "last": tally(ends(found)[1]),
                "probe": _probed(rows[PROBES], domain),
            }
            for domain, found in by_domain(served).items()
        },
    }


def _foretold(found: dict[str, float], proposals: int) -> dict[str, float]:
    if not found:
        return {}
    return {**found, "tokens_per_round_foretold": tokens_per_round(found["alpha"], proposals)}


def _probed(probes: Rows, domain: str) -> dict[str, float]:
    """The best draft's alpha on held-out prompts before, at its best, and at the end."""
    best = [max(found[domain] for found in row["alpha"].values()) for row in probes]
    return {"before": best[0], "best": max(best), "after": best[-1]} if best else {}
