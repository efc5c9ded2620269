"""Rows against the baseline: which differences other examples would show again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np
from scipy import stats

from distillkit.evaluation.intervals import Draws, redrawn
from distillkit.evaluation.results import paired, verdict_test
from distillkit.metrics.base import Metric, Record
from distillkit.metrics.rebuilding import metric_of
from distillkit.report.evaluations import Evaluation, Value
from distillkit.report.groups import Group
from distillkit.report.runs import Run
from distillkit.statistics import bootstrap


@dataclass(frozen=True, slots=True)
class Difference:
    """A row minus the baseline on the same examples."""

    value: float
    """In the number's own units."""
    low: float | None
    """Lower end of the paired bootstrap 95 % interval, seeds held fixed; None where no draw has the
    number."""
    high: float | None
    """Upper end."""
    p: float | None
    """Two-sided, uncorrected: McNemar's for the verdicts of two single runs, else Student's t over
    the bootstrap's spread."""
    n: int
    """Examples."""
    seeds: Value | None
    """Mean difference over the seeds that both have, with Student's t interval; None below two such
    seeds."""


@dataclass(slots=True)
class PairedRuns:
    """Values and differences of runs; draws are made once for each run and metric."""

    _drawn: dict[tuple[str, str], Draws] = field(default_factory=dict)

    def difference(
        self, runs: Sequence[Run], baseline: Sequence[Run], *, metric: str, number: str
    ) -> Difference | str:
        """Mean over ``runs`` minus mean over ``baseline``, or why there is none."""
        everyone = [*runs, *baseline]
        evaluations = [run.evaluation for run in everyone if run.evaluation is not None]
        if len(evaluations) < len(everyone) or any(e.source == "training" for e in evaluations):
            return "not evaluated"
        reason = _not_comparable(evaluations, metric)
        if reason:
            return reason
        made = metric_of(metric, evaluations[0].metrics.get(metric, {}))
        if made is None:
            return f"metric {metric} is not known here"
        ours, theirs = (_mean_number(side, metric, number) for side in (runs, baseline))
        if ours is None or theirs is None:
            return "not measured"
        n = len(evaluations[0].records[metric])
        seeds = _by_seed(runs, baseline, metric, number)
        low = high = p = None
        # Means over runs of the number on the same resampled examples [rounds].
        left, right = (
            np.mean([self._draws(run, metric, made)[number] for run in side], axis=0)
            for side in (runs, baseline)
        )
        with np.errstate(invalid="ignore"):
            draws = left - right
        draws = draws[np.isfinite(draws)]
        if draws.size:
            low, high = bootstrap.interval(draws)
            p = bootstrap.spread_p(ours - theirs, draws, units=n)
        if len(everyone) == 2:
            mine, other = (_in_order(found, metric) for found in evaluations)
            verdicts = verdict_test(paired(mine, other, number))
            p = verdicts.p if verdicts else p
        return Difference(value=ours - theirs, low=low, high=high, p=p, n=n, seeds=seeds)

    def _draws(self, run: Run, metric: str, made: Metric) -> Draws:
        key = (run.name, metric)
        if key not in self._drawn:
            assert run.evaluation is not None
            records = _in_order(run.evaluation, metric)
            self._drawn[key] = redrawn(made, records, bootstrap.counts(len(records)))
        return self._drawn[key]


def over_seeds(values: Sequence[float]) -> Value:
    """Mean with Student's t interval, for values of independent seeds; two at least for one."""
    if len(values) < 2:
        return Value(fmean(values))
    reach = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return Value(fmean(values), fmean(values) - float(reach), fmean(values) + float(reach))


def value_of(group: Group, metric: str, number: str) -> Value | None:
    """The group's number: its only run's, or the mean over all of its seeds.

    None where a run has no such number, since a mean over some seeds would be another row's.
    """
    found = [run.evaluation.number(metric, number) for run in group.runs if run.evaluation]
    values = [value for value in found if value is not None]
    if not values or len(values) < len(group.runs):
        return None
    return over_seeds([value.value for value in values]) if group.seeded else values[0]


def same_seed(run: Run, baseline: Group) -> Run:
    """The baseline's run of this seed, its first where it has none."""
    return next((other for other in baseline.runs if other.seed == run.seed), baseline.runs[0])


def _by_seed(
    runs: Sequence[Run], baseline: Sequence[Run], metric: str, number: str
) -> Value | None:
    left, right = (
        {
            run.seed: found.value
            for run in side
            if run.evaluation and (found := run.evaluation.number(metric, number))
        }
        for side in (runs, baseline)
    )
    shared = [left[seed] - right[seed] for seed in left if seed in right]
    return over_seeds(shared) if len(shared) > 1 else None


def _mean_number(runs: Sequence[Run], metric: str, number: str) -> float | None:
    found = [run.evaluation.number(metric, number) for run in runs if run.evaluation]
    values = [value.value for value in found if value is not None]
    return fmean(values) if len(values) == len(runs) else None


def _in_order(evaluation: Evaluation, metric: str) -> list[Record]:
    by_id = evaluation.records[metric]
    return [by_id[each] for each in sorted(by_id)]


def _not_comparable(evaluations: Sequence[Evaluation], metric: str) -> str | None:
    tables = [found.records.get(metric) for found in evaluations]
    kept = [table for table in tables if table]
    if len(kept) < len(tables):
        return "no records to pair"
    first = evaluations[0]
    apart = max(len(kept[0].keys() ^ table.keys()) for table in kept)
    if apart:
        return f"not paired: {apart:,} examples are not in both"
    for name, value in first.made_from.items():
        if any(found.made_from.get(name) != value for found in evaluations):
            return f"not paired: other {name.replace('_', ' ')}"
    if any(found.metrics.get(metric) != first.metrics.get(metric) for found in evaluations):
        return f"not paired: {metric} was set differently"
    return None
