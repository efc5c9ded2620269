"""The table that an evaluation prints: numbers by model, and what training changed."""

from collections.abc import Collection, Mapping
from typing import Any

from rich.table import Table


def evaluation_table(results: Mapping[str, Any], *, only: Collection[str]) -> Table:
    """Every number of the metrics asked for, with the paired difference student - start.

    Args:
        results: what ``results.json`` holds.
        only: names of metrics.
    """
    numbers = results["numbers"]
    table = Table(
        title=f"{results['name']} ({results['split']}, n = {results['n']}, "
        f"{results['selection']} weights)",
        caption=f"{results['samples']} samples an example, seed {results['seed']}; differences: "
        "paired, 95 % bootstrap intervals; p: McNemar or t, corrected by Holm over all metrics",
    )
    for column in ("", *numbers, "student - start", "95 % interval", "p"):
        table.add_column(column, justify="left" if column == "" else "right")
    gains = {
        (row["metric"], row["number"]): row
        for row in results["differences"]
        if (row["left"], row["right"]) == ("student", "start")
    }
    for metric in (name for name in numbers["student"] if name in only):
        if not any(of.get(metric) for of in numbers.values()):
            table.add_row(f"{metric}: bears on no example here")
        for name in dict.fromkeys(key for of in numbers.values() for key in of.get(metric, {})):
            cells = [_value(of.get(metric, {}).get(name)) for of in numbers.values()]
            gain = gains.get((metric, name))
            table.add_row(name, *cells, _value(gain, sign="+"), _interval(gain), _p(gain))
        table.add_section()
    return table


def _value(row: Mapping[str, Any] | None, *, sign: str = "") -> str:
    return "-" if row is None or row["value"] is None else f"{row['value']:{sign}.3f}"


def _interval(row: Mapping[str, Any] | None) -> str:
    if row is None or row["low"] is None:
        return "-"
    return f"{row['low']:.3f} to {row['high']:.3f}"


def _p(row: Mapping[str, Any] | None) -> str:
    if row is None or row.get("p_holm") is None:
        return "-"
    return "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
