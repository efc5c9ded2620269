"""Proportions: merged exactly, with Wilson's interval."""

from math import isnan
from random import Random

import pytest
from scipy.stats import binomtest

from distillkit.metrics.proportion import Proportion


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The interval by its formula (Wilson 1927), 95 %."""
    z = 1.959963984540054
    centre = (hits + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * (hits * (total - hits) / total + z * z / 4) ** 0.5
    return centre - half, centre + half


def test_a_share_is_hits_over_total() -> None:
    assert Proportion(3, 4).compute() == 0.75


def test_an_empty_proportion_is_not_a_number() -> None:
    assert isnan(Proportion().compute())
    assert all(map(isnan, Proportion().interval()))


def test_merging_any_shards_gives_the_whole() -> None:
    """Unequal shards: a mean of their shares would be wrong."""
    shards = [Proportion(1, 1), Proportion(0, 7), Proportion(), Proportion(2, 4)]
    whole = Proportion()
    for shard in shards:
        whole = whole.merge(shard)
    assert whole == Proportion(3, 12)


@pytest.mark.parametrize(("hits", "total"), [(81, 263), (15, 148), (0, 20), (20, 20), (1, 1)])
def test_the_interval_is_wilsons(hits: int, total: int) -> None:
    low, high = Proportion(hits, total).interval()
    assert (low, high) == pytest.approx(wilson(hits, total), abs=1e-9)
    assert 0 <= low <= hits / total <= high <= 1


def test_the_interval_is_that_of_scipy_to_the_bit() -> None:
    draw = Random(0)
    totals = [*range(1, 30), *(draw.randint(30, 10**6) for _ in range(200))]
    for total in totals:
        for hits in {0, total, draw.randint(0, total), draw.randint(0, total)}:
            bounds = binomtest(hits, total).proportion_ci(method="wilson")
            assert Proportion(hits, total).interval() == (bounds.low, bounds.high)
