"""What a stream came to, as tables."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def stream_table(summary: Mapping[str, Any]) -> Table:
    """Acceptance by domain: over all of it, its first and last tenth, and on held-out prompts."""
    table = Table(title=f"{summary['name']}: α, the chance that a proposal is accepted")
    table.add_column("domain")
    for name in (
        "requests",
        "α",
        "accepted",
        "first tenth",
        "last tenth",
        "tokens/round",
        "probe before",
        "best",
        "after",
    ):
        table.add_column(name, justify="right")
    for domain, row in summary["domains"].items():
        table.add_row(
            domain,
            str(row["requests"]),
            *(_three(row.get(key)) for key in ("alpha", "accepted")),
            *(_three(row[key].get("alpha")) for key in ("first", "last")),
            f"{row['tokens_per_round']:.2f}" if "tokens_per_round" in row else "",
            *(_three(row["probe"].get(key)) for key in ("before", "best", "after")),
        )
    return table


def lines(summary: Mapping[str, Any]) -> list[str]:
    """Time, memory and speed."""
    seconds, latency, pace = summary["seconds"], summary["latency"], summary["pace"]
    return [
        f"{summary['updates']} updates took {seconds['learning']:.1f} s, "
        f"{seconds['learning_over_serving']:.1%} of the {seconds['serving']:.1f} s of serving; "
        f"the buffer held at most {summary['buffer_mb']:.2f} MB",
        f"latency p50 {latency.get('p50', 0):.3f} s, p95 {latency.get('p95', 0):.3f} s",
        f"{pace['speed_up']:.2f} times the speed of the target alone on {pace['processor']} "
        f"(foretold {pace['foretold']:.2f} for α {pace['alpha']:.3f}, with a step of the draft at "
        f"{pace['cost']:.2f} of one of the target)",
    ]


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
