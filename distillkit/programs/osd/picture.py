"""Acceptance over a stream as a PNG."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from distillkit.online.tallies import Rows, rolling

COLOURS = ("#1f5fa8", "#c92a2a", "#2b8a3e", "#e67700", "#6741d9", "#0b7285", "#a61e4d", "#5c940d")


def draw_stream(name: str, served: Rows, probes: Rows, file: Path, *, window: int = 50) -> None:
    """Acceptance as it was served, with boundaries, and on held-out prompts of every domain.

    Args:
        name: of the run.
        served: rows of requests.jsonl.
        probes: rows of probes.jsonl.
        file: the PNG to write.
        window: requests in a mean, as in the paper's figures.
    """
    figure = Figure(figsize=(9.5, 4.2))
    margins = {"left": 0.07, "right": 0.985, "bottom": 0.13, "top": 0.9, "wspace": 0.16}
    left, right = figure.subplots(1, 2, gridspec_kw=margins, sharey=True)
    domains = list(dict.fromkeys(row["domain"] for row in served))
    colours = {domain: COLOURS[nth % len(COLOURS)] for nth, domain in enumerate(domains)}
    phases = _phases(served)
    if len(phases) <= 2 * len(domains):
        for domain, start, end in phases:
            alphas = rolling(served[start:end], window)
            left.plot(range(start + 1, end + 1), alphas, color=colours[domain], label=domain)
            left.axvline(end, color="#adb5bd", linewidth=0.7)
    else:
        for domain in domains:
            own = [row for row in served if row["domain"] == domain]
            places = [row["request"] + 1 for row in own]
            left.plot(places, rolling(own, window), color=colours[domain], label=domain)
    left.set(xlabel="request", ylabel="α = Σ min(p, q)", xlim=(0, len(served)))
    left.set_title(f"{name}: served, mean of {window} requests", parse_math=False, fontsize=10)
    left.legend(fontsize=8, frameon=False)
    for domain in domains:
        points = [
            (row["request"], max(found[domain] for found in row["alpha"].values()))
            for row in probes
        ]
        right.plot(*zip(*points, strict=True), ".-", color=colours[domain], label=domain)
    for _, _, end in phases if len(phases) <= 2 * len(domains) else ():
        right.axvline(end, color="#adb5bd", linewidth=0.7)
    right.set(xlabel="request")
    right.set_title("held-out prompts of every domain", fontsize=10)
    figure.savefig(file, dpi=130)


def _phases(served: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """Domain, first request and the one behind the last of every stretch of one domain."""
    found, start = [], 0
    for domain, rows in groupby(served, key=lambda row: row["domain"]):
        end = start + len(list(rows))
        found.append((domain, start, end))
        start = end
    return found
