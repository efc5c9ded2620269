"""Tests that look at ranks alone, each with the size of its effect."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from distillkit.core.errors import DataError
from distillkit.statistics.arrays import numbers, pairs
from distillkit.statistics.finding import AS_GIVEN, Finding
from distillkit.statistics.paired import Alternative


def wilcoxon(
    left: ArrayLike,
    right: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    unit: str = "pairs",
    selection: str = AS_GIVEN,
) -> Finding:
    """Wilcoxon's signed-rank test of left minus right [n]; pairs that are equal are left out.

    The estimate is the matched-pairs rank-biserial correlation of Kerby (Comprehensive Psychology
    3, 2014): the share of rank sums that is for left less that against, 0 where all are equal.

    Raises:
        DataError: as of ``pairs``.
    """
    left, right = pairs(left, right)
    # Differences of equal size tie in spite of rounding.
    difference = np.round(left - right, 10)
    moved = difference[difference != 0]
    ranks = stats.rankdata(np.abs(moved))
    effect, p, statistic = 0.0, 1.0, None
    if len(moved):
        found = stats.wilcoxon(moved, alternative=alternative)
        effect = float((np.sign(moved) * ranks).sum() / ranks.sum())
        p, statistic = float(found.pvalue), float(found.statistic)
    side = "" if alternative == "two-sided" else f", one-sided ({alternative})"
    return Finding(
        test=f"Wilcoxon signed-rank{side}, rank-biserial r",
        estimate=effect,
        low=None,
        high=None,
        p=p,
        n=len(left),
        unit=unit,
        selection=selection,
        statistic=statistic,
    )


def kruskal_wallis(
    groups: Sequence[ArrayLike], *, unit: str = "units", selection: str = AS_GIVEN
) -> Finding:
    """Whether groups differ, by Kruskal and Wallis's H, p by chi squared.

    The estimate is epsilon squared, H / (n - 1) (Tomczak and Tomczak, Trends in Sport Sciences 1,
    2014): 0 where groups share their ranks, 1 where they are apart.

    Raises:
        DataError: fewer than two groups, an empty group, or fewer than three numbers.
    """
    arrays = [np.round(numbers(group), 10) for group in groups]
    sizes = [len(array) for array in arrays]
    if len(arrays) < 2 or min(sizes) < 1 or sum(sizes) < 3:
        raise DataError(
            "Kruskal and Wallis's test takes two or more groups, none empty, and three or more "
            f"numbers, got groups of {sizes}"
        )
    effect, p, statistic = 0.0, 1.0, None
    if np.ptp(np.concatenate(arrays)):
        found = stats.kruskal(*arrays)
        effect = float(found.statistic) / (sum(sizes) - 1)
        p, statistic = float(found.pvalue), float(found.statistic)
    return Finding(
        test="Kruskal-Wallis, ε²",
        estimate=effect,
        low=None,
        high=None,
        p=p,
        n=sum(sizes),
        unit=unit,
        selection=selection,
        statistic=statistic,
    )
