"""Signed ranks and groups of ranks, against scipy and against what is counted by hand."""

import numpy as np
import pytest
from scipy import stats

from distillkit.core.errors import DataError
from distillkit.statistics.ranks import kruskal_wallis, wilcoxon

RANDOM = np.random.default_rng(2)


def test_wilcoxon_is_scipys() -> None:
    left, right = RANDOM.normal(size=(2, 12)) + np.array([[0.8], [0.0]])
    for alternative in ("two-sided", "greater", "less"):
        found = wilcoxon(left, right, alternative=alternative)
        peer = stats.wilcoxon(left, right, alternative=alternative)
        assert found.p == pytest.approx(peer.pvalue)
        assert found.statistic == pytest.approx(peer.statistic)
        assert found.n == 12


def test_the_rank_biserial_correlation_is_counted_by_hand() -> None:
    """Differences 3, -1, 2, 0: ranks 3, 1, 2 and none, so (3 + 2 - 1) / 6."""
    found = wilcoxon([3, 0, 2, 5], [0, 1, 0, 5])
    assert found.estimate == pytest.approx(4 / 6)
    # Of the eight ways to put signs on three ranks, two put 5 or 6 on one side, and as many below.
    assert wilcoxon([3, 0, 2], [0, 1, 0], alternative="greater").p == pytest.approx(2 / 8)


def test_rounding_breaks_no_ties() -> None:
    found = wilcoxon([0.1 + 0.2, 1.0], [0.0, 1.3])
    assert found.estimate == 0


def test_pairs_that_are_all_equal_say_nothing() -> None:
    found = wilcoxon([1, 2, 3], [1, 2, 3])
    assert (found.estimate, found.p, found.statistic) == (0, 1, None)


def test_kruskal_wallis_is_scipys_with_epsilon_squared() -> None:
    groups = [RANDOM.normal(size=5), RANDOM.normal(1, size=7), RANDOM.normal(size=4)]
    found, peer = kruskal_wallis(groups), stats.kruskal(*groups)
    assert (found.statistic, found.p) == pytest.approx((peer.statistic, peer.pvalue))
    n = 16
    assert found.estimate == pytest.approx(peer.statistic * (n + 1) / (n**2 - 1))


def test_groups_that_are_apart_are_counted_by_hand() -> None:
    """Ranks 1 to 3 and 4 to 6: H = 12 / 42 * (12 + 75) - 21 = 27 / 7."""
    found = kruskal_wallis([[1, 2, 3], [4, 5, 6]])
    assert found.statistic == pytest.approx(27 / 7)
    assert found.estimate == pytest.approx(27 / 35)


def test_groups_of_one_number_only_say_nothing() -> None:
    found = kruskal_wallis([[2, 2], [2, 2]])
    assert (found.estimate, found.p) == (0, 1)


@pytest.mark.parametrize("groups", [[[1, 2, 3]], [[1, 2], []], [[1], [2]]])
def test_too_few_groups_or_numbers_are_refused(groups: list[list[float]]) -> None:
    with pytest.raises(DataError, match="Kruskal and Wallis's test takes two or more groups"):
        kruskal_wallis(groups)
