"""From tallies to what is read: numbers with intervals, paired differences, curves."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from distillkit.evaluation.intervals import Draws, redrawn
from distillkit.metrics.base import Metric, Record, Tally
from distillkit.statistics import bootstrap
from distillkit.statistics.correction import holm
from distillkit.statistics.finding import Finding
from distillkit.statistics.paired import mcnemar

PAIRS = (("student", "start"), ("student", "teacher"))
"""Whose difference is reported, left minus right."""

Side = tuple[Sequence[Record], Mapping[str, float], Draws]
"""Records of the examples in one order, the numbers made of them, and those of other draws."""

Tallies = Mapping[str, Mapping[str, Tally]]
"""By whose they are (student, start, teacher), then by metric."""


def summarise(
    metrics: Mapping[str, Metric], tallies: Tallies, *, selection: str, seed: int
) -> dict[str, Any]:
    """Everything that is reported, in JSON's types.

    Args:
        metrics: by name.
        tallies: of the same examples for everybody.
        selection: how the measured weights were chosen.
        seed: of the resampling.

    Returns:
        ``numbers``: by whose and metric and name, ``value`` with its 95 % interval ``low`` to
        ``high`` (percentiles of a bootstrap over examples); ``differences``: a list of findings
        with p-values, and those corrected by Holm over all numbers of a pair of models; ``curves``:
        for pictures.
    """
    numbers: dict[str, Any] = {who: {} for who in tallies}
    curves: dict[str, Any] = {who: {} for who in tallies}
    differences: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        measured = {who: of[name].records for who, of in tallies.items() if name in of}
        ids = list(dict.fromkeys(each for records in measured.values() for each in records))
        if not ids:
            for who in measured:
                numbers[who][name] = {}
            continue
        counts = bootstrap.counts(len(ids), seed=seed)
        sides: dict[str, Side] = {}
        for who, by_id in measured.items():
            records = [by_id.get(each, {}) for each in ids]
            found = metric.compute(records)
            draws = redrawn(metric, records, counts)
            sides[who] = records, found, draws
            numbers[who][name] = {key: _number(found[key], draws[key]) for key in found}
            curves[who][name] = metric.curves(records)
        for left, right in PAIRS:
            if left in sides and right in sides:
                for key in (key for key in sides[left][1] if key in sides[right][1]):
                    finding = difference(key, sides[left], sides[right], selection=selection)
                    about = {"metric": name, "number": key, "left": left, "right": right}
                    differences.append({**about, **_as_row(finding)})
    return {
        "numbers": numbers,
        "differences": _corrected(differences),
        "curves": {
            who: {key: some for key, some in of.items() if some} for who, of in curves.items()
        },
    }


def difference(
    name: str,
    left: Side,
    right: Side,
    *,
    selection: str,
) -> Finding:
    """One number of two models on the same examples, left minus right.

    McNemar's exact test where every example is simply right or wrong, else Student's t over the
    bootstrap's spread. The interval is the bootstrap's.

    Args:
        name: the number.
        left: records, numbers and draws of one side.
        right: the same of the other, with the same examples drawn.
        selection: how the measured weights were chosen.
    """
    pairs = paired(left[0], right[0], name)
    with np.errstate(invalid="ignore"):
        drawn = left[2][name] - right[2][name]
    drawn = drawn[np.isfinite(drawn)]
    low, high = bootstrap.interval(drawn) if len(drawn) else (None, None)
    estimate = left[1][name] - right[1][name]
    n = len(pairs) or sum(bool(record) for record in left[0])
    test, p = "paired bootstrap, t", None
    if len(drawn) > 1 and n > 1 and isfinite(estimate):
        p = bootstrap.spread_p(estimate, drawn, units=n)
    verdicts = verdict_test(pairs)
    if verdicts is not None:
        test, p = verdicts.test, verdicts.p
    return Finding(
        test=test,
        estimate=estimate,
        low=low,
        high=high,
        p=p,
        n=n,
        unit="examples",
        selection=selection,
    )


def paired(
    left: Sequence[Record], right: Sequence[Record], name: str
) -> list[tuple[Sequence[float], Sequence[float]]]:
    """A number's [sum, weight] on both sides, of the examples that both have it on."""
    return [
        (mine[name], theirs[name])
        for mine, theirs in zip(left, right, strict=True)
        if name in mine and name in theirs
    ]


def verdict_test(pairs: Sequence[tuple[Any, Any]]) -> Finding | None:
    """McNemar's exact test, where every example of both sides is simply right or wrong."""
    sides = [side for pair in pairs for side in pair]
    simple = all(isinstance(side, Sequence) and list(side) in ([0, 1], [1, 1]) for side in sides)
    if len(pairs) < 2 or not simple:
        return None
    return mcnemar([pair[0][0] for pair in pairs], [pair[1][0] for pair in pairs])


def _number(value: float, draws: np.ndarray) -> dict[str, float | None]:
    finite = draws[np.isfinite(draws)]
    low, high = bootstrap.interval(finite) if len(finite) else (None, None)
    return {"value": value if isfinite(value) else None, "low": low, "high": high}


def _as_row(finding: Finding) -> dict[str, Any]:
    row = finding.as_dict()
    return {"value": row.pop("estimate"), **{key: row[key] for key in row if key != "statistic"}}


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for right in dict.fromkeys(row["right"] for row in rows):
        family = [row for row in rows if row["right"] == right and row["p"] is not None]
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
    return rows
