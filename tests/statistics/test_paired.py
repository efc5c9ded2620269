"""Paired tests and the bootstrap, against scipy, against counting by hand, and by simulation."""

import warnings
from math import comb, isnan

import numpy as np
import pytest
from scipy import stats

from distillkit.core.errors import DataError
from distillkit.statistics import bootstrap, paired

RANDOM = np.random.default_rng(7)
LEFT, RIGHT = RANDOM.normal(0.3, 1, 40), RANDOM.normal(0, 1, 40)


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_mcnemar_counts_only_the_examples_on_which_the_sides_differ() -> None:
    left = [1] * 30 + [1] * 9 + [0] * 2 + [0] * 9
    right = [1] * 30 + [0] * 9 + [1] * 2 + [0] * 9
    found = paired.mcnemar(left, right)
    by_hand = 2 * sum(comb(11, k) for k in range(3)) / 2**11
    assert found.p == pytest.approx(by_hand)
    assert (found.estimate, found.n, found.unit) == (7 / 50, 50, "examples")
    # Bonett and Price: 10 and 3 of 52, after one more of either kind.
    reach = 1.959964 * (((10 + 3) / 52 - (7 / 52) ** 2) / 52) ** 0.5
    assert found.low == pytest.approx(7 / 52 - reach, abs=1e-6)
    assert found.high == pytest.approx(7 / 52 + reach, abs=1e-6)


def test_the_interval_of_mcnemar_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    cells = random.multinomial(60, [0.5, 0.2, 0.08, 0.22], size=400)
    inside = 0
    for both, won, lost, neither in cells:
        left = [1] * (both + won) + [0] * (lost + neither)
        right = [1] * both + [0] * won + [1] * lost + [0] * neither
        found = paired.mcnemar(left, right)
        inside += found.low <= 0.12 <= found.high
    assert 0.93 <= inside / 400 <= 0.98


def test_swapping_the_sides_turns_every_difference_around() -> None:
    one, other = paired.t_test(LEFT, RIGHT), paired.t_test(RIGHT, LEFT)
    assert one.estimate == -other.estimate
    assert one.p == pytest.approx(other.p)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    verdicts = (LEFT > 0).astype(int), (RIGHT > 0).astype(int)
    one, other = paired.mcnemar(*verdicts), paired.mcnemar(*verdicts[::-1])
    assert (one.estimate, one.low, one.p) == (-other.estimate, -other.high, other.p)


def test_the_t_test_has_scipys_p_and_interval() -> None:
    peer = stats.ttest_rel(LEFT, RIGHT)
    found = paired.t_test(LEFT, RIGHT, selection="last weights")
    assert (found.p, found.statistic) == pytest.approx((peer.pvalue, peer.statistic))
    bounds = peer.confidence_interval()
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert (found.test, found.unit, found.selection) == ("paired t", "seeds", "last weights")


def test_a_one_sided_p_keeps_the_two_sided_interval() -> None:
    found = paired.t_test(LEFT, RIGHT, alternative="greater")
    assert found.p == pytest.approx(stats.ttest_rel(LEFT, RIGHT, alternative="greater").pvalue)
    both = paired.t_test(LEFT, RIGHT)
    assert (found.low, found.high) == (both.low, both.high)
    assert found.test == "paired t, one-sided (greater)"


@pytest.mark.parametrize("test", [paired.mcnemar, paired.t_test])
def test_equal_sides_are_no_evidence_of_a_difference(test) -> None:
    found = test([1, 0, 1], [1, 0, 1])
    assert (found.estimate, found.p) == (0, 1)


def test_differences_that_do_not_vary_have_no_p_over_seeds() -> None:
    """0.7 - 0.5 and 0.3 - 0.1 differ by rounding alone."""
    found = paired.t_test([0.7, 0.3], [0.5, 0.1])
    assert found.estimate == pytest.approx(0.2)
    assert (found.p, found.low, found.high, found.statistic) == (None, None, None, None)


def test_counts_are_draws_of_n_units_with_replacement() -> None:
    drawn = bootstrap.counts(50, rounds=3000, seed=1)
    assert drawn.shape == (3000, 50)
    assert np.issubdtype(drawn.dtype, np.integer)
    assert (drawn.sum(1) == 50).all()
    assert drawn.mean(0) == pytest.approx(np.ones(50), abs=0.1)
    assert drawn.var() == pytest.approx(1 - 1 / 50, abs=0.02)
    assert (drawn == bootstrap.counts(50, rounds=3000, seed=1)).all()
    assert (drawn != bootstrap.counts(50, rounds=3000, seed=2)).any()


def test_an_interval_cuts_the_same_share_off_either_side() -> None:
    assert bootstrap.interval(np.arange(1001)) == pytest.approx((25, 975))
    assert bootstrap.interval(np.arange(1001), 0.5) == pytest.approx((250, 750))


@pytest.mark.parametrize(
    ("draws", "p"),
    [
        ([1.0] * 99, 2 / 100),
        ([-1.0] * 99, 2 / 100),
        ([1.0] * 90 + [-1.0] * 9, 20 / 100),
        ([1.0] * 90 + [0.0] * 9, 20 / 100),
        ([0.0] * 99, 1),
        ([-1.0, 1.0], 1),
    ],
)
def test_a_bootstrap_p_is_never_zero_and_at_most_one(draws: list[float], p: float) -> None:
    assert bootstrap.two_sided_p(draws) == pytest.approx(p)


def test_a_difference_of_ratios_weighs_by_tokens_and_draws_whole_examples() -> None:
    random = np.random.default_rng(5)
    tokens, fewer = random.integers(1, 40, 60), random.integers(1, 40, 60)
    sums, others = tokens * random.normal(1.2, 0.3, 60), fewer * random.normal(1, 0.3, 60)
    found = paired.bootstrap_difference((sums, tokens), (others, fewer), rounds=400, seed=9)
    assert found.estimate == pytest.approx(sums.sum() / tokens.sum() - others.sum() / fewer.sum())
    draws = []
    for row in bootstrap.counts(60, rounds=400, seed=9):
        chosen = np.repeat(np.arange(60), row)
        one = sums[chosen].sum() / tokens[chosen].sum()
        draws.append(one - others[chosen].sum() / fewer[chosen].sum())
    assert (found.low, found.high) == pytest.approx(bootstrap.interval(draws))
    assert found.p == bootstrap.two_sided_p(draws)


def test_draws_without_weight_are_left_out() -> None:
    found = paired.bootstrap_difference(([2, 4], [1, 0]), ([1, 1], [1, 1]))
    assert found.estimate == 5
    assert not isnan(found.low)


def test_the_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    """Of 300 samples of 60 examples whose sides share most of their noise."""
    random = np.random.default_rng(11)
    inside = sure = 0
    for _ in range(300):
        tokens, shared = random.integers(5, 30, 60), random.normal(1, 1, 60)
        left, right = shared + random.normal(0.2, 0.3, 60), shared + random.normal(0, 0.3, 60)
        found = paired.bootstrap_difference(
            (left * tokens, tokens), (right * tokens, tokens), rounds=500
        )
        inside += found.low <= 0.2 <= found.high
        sure += found.p < 0.05
    assert 0.91 <= inside / 300 <= 0.98
    assert sure / 300 > 0.8


def test_the_bootstrap_seldom_finds_a_difference_that_is_not_there() -> None:
    random = np.random.default_rng(12)
    found = [
        paired.bootstrap_difference(
            (random.normal(0, 1, 40), np.ones(40)), (random.normal(0, 1, 40), np.ones(40))
        ).p
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(np.array(found) < 0.05) <= 0.1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired.t_test([1, 2, 3], [1, 2]), "got 3 and 2"),
        (lambda: paired.t_test([1], [2]), "at least two pairs, got 1"),
        (lambda: paired.mcnemar([], []), "at least two pairs, got 0"),
        (lambda: paired.mcnemar([1, 0.5], [0, 1]), "0 or 1"),
        (lambda: paired.t_test([1, float("nan")], [1, 2]), "finite"),
        (lambda: paired.t_test([[1, 2]], [[1, 2]]), "shape"),
        (lambda: paired.bootstrap_difference(([1, 2], [0, 0]), ([1, 2], [1, 1])), "add up to 0"),
        (lambda: paired.bootstrap_difference(([1, 2], [1]), ([1, 2], [1, 1])), "got 2 and 1"),
        (lambda: bootstrap.counts(0), "at least one unit"),
    ],
)
def test_input_that_cannot_be_tested_is_refused(call, words: str) -> None:
    with pytest.raises(DataError, match=words):
        call()
