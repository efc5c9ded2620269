"""Two models on the same units: examples, or seeds. Differences are left minus right."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar

from distillkit.core.errors import DataError
from distillkit.statistics import bootstrap
from distillkit.statistics.arrays import pairs, varies
from distillkit.statistics.finding import AS_GIVEN, Finding

Alternative = Literal["two-sided", "greater", "less"]
"""What the difference is, if it is not zero."""

Ratio = tuple[ArrayLike, ArrayLike]
"""A number that is sum(sums) over sum(weights): both [n], one entry a unit."""


def mcnemar(
    left: ArrayLike, right: ArrayLike, *, unit: str = "examples", selection: str = AS_GIVEN
) -> Finding:
    """McNemar's exact test on verdicts, 0 or 1 [n].

    The estimate is the difference of both shares with the interval of Bonett and Price (2012),
    a Wald interval after adding one pair of either kind on which the sides differ.

    Raises:
        DataError: as of ``pairs``; a verdict that is neither 0 nor 1.
    """
    left, right = pairs(left, right)
    if not np.isin([left, right], (0, 1)).all():
        raise DataError("McNemar's test takes verdicts, 0 or 1; for other scores use Wilcoxon's")
    n = len(left)
    won, lost = int((left > right).sum()), int((left < right).sum())
    table = [[0, won], [lost, n - won - lost]]
    found = exact_mcnemar(table, exact=True)
    more, fewer = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    spread = np.sqrt((more + fewer - (more - fewer) ** 2) / (n + 2))
    reach = stats.norm.ppf((1 + bootstrap.LEVEL) / 2) * spread
    return Finding(
        test="McNemar, exact",
        estimate=(won - lost) / n,
        low=float(max(-1, more - fewer - reach)),
        high=float(min(1, more - fewer + reach)),
        p=float(found.pvalue),
        n=n,
        unit=unit,
        selection=selection,
        statistic=float(found.statistic),
    )


def t_test(
    left: ArrayLike,
    right: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    unit: str = "seeds",
    selection: str = AS_GIVEN,
) -> Finding:
    """Student's paired t-test [n]: the mean difference with its two-sided t interval.

    Differences that are all zero give p = 1, others that do not vary no p, and neither an interval:
    they leave no spread to judge by.

    Args:
        left: one number a unit.
        right: of the same units, in the same order.
        alternative: of the p alone; the interval has two sides in any case.
        unit: what a number is about.
        selection: the rule that produced the numbers.

    Raises:
        DataError: as of ``pairs``.
    """
    left, right = pairs(left, right)
    low = high = p = statistic = None
    difference = left - right
    if varies(difference):
        found = stats.ttest_1samp(difference, 0, alternative=alternative)
        both = stats.ttest_1samp(difference, 0).confidence_interval(bootstrap.LEVEL)
        low, high = float(both.low), float(both.high)
        p, statistic = float(found.pvalue), float(found.statistic)
    elif not difference.any():
        p = 1.0
    return Finding(
        test="paired t" + ("" if alternative == "two-sided" else f", one-sided ({alternative})"),
        estimate=float(difference.mean()),
        low=low,
        high=high,
        p=p,
        n=len(difference),
        unit=unit,
        selection=selection,
        statistic=statistic,
    )


def bootstrap_difference(
    left: Ratio,
    right: Ratio,
    *,
    unit: str = "examples",
    selection: str = AS_GIVEN,
    rounds: int = 2000,
    seed: int = 0,
) -> Finding:
    """Difference of two ratios of sums over the same units, which are drawn together.

    A mean over tokens has its example's sum and its number of tokens as weight, so that examples
    are drawn whole. Draws in which a side has no weight are left out.

    Raises:
        DataError: unequal lengths, fewer than two units, or a side without weight.
    """
    (above, below), (over, under) = pairs(*left), pairs(*right)
    pairs(below, under)
    if not (below.sum() and under.sum()):
        raise DataError("a ratio takes units with weight, got weights that add up to 0")
    n = len(above)
    drawn = bootstrap.counts(n, rounds=rounds, seed=seed)
    sides = np.stack([above, below, over, under], 1)
    one, base, other, floor = (drawn @ sides).T
    full = (base != 0) & (floor != 0)
    draws = one[full] / base[full] - other[full] / floor[full]
    low, high = bootstrap.interval(draws)
    return Finding(
        test="paired bootstrap",
        estimate=float(above.sum() / below.sum() - over.sum() / under.sum()),
        low=low,
        high=high,
        p=bootstrap.two_sided_p(draws),
        n=n,
        unit=unit,
        selection=selection,
    )
