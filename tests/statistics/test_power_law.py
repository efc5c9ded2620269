"""Power laws: planted ones are found, by a search of another kind, and intervals cover them."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import curve_fit

from distillkit.core.errors import DataError
from distillkit.statistics.power_law import PowerLaw, fit
from distillkit.statistics.profile import Form
from distillkit.statistics.spread import spread_of

SIZES = np.geomspace(1, 32, 6)


def planted(
    random: np.random.Generator,
    x: np.ndarray,
    *,
    exponent: float = 0.5,
    floor: float = 0.1,
    noise: float = 0.02,
    power: float = 0.0,
    seeds: int = 3,
) -> list[np.ndarray]:
    """Seeds around floor + x ** -exponent, their spread by a power of the level."""
    level = floor + x**-exponent
    return [
        np.maximum(0, each + noise * each**power * random.standard_normal(seeds)) for each in level
    ]


def holds(law: PowerLaw, exponent: float) -> bool:
    low, high = law.exponent.low, law.exponent.high
    return (low is None or low <= exponent) and (high is None or exponent <= high)


def test_the_interval_holds_the_planted_exponent_in_95_of_100_draws() -> None:
    random, inside = np.random.default_rng(0), 0
    for draw in range(100):
        exponent = random.uniform(0.2, 1)
        x = np.geomspace(1, 2 ** random.uniform(4, 6), 5 + draw % 4)
        noise, power = [0.005, 0.02, 0.05, 0.1][draw // 4 % 4], draw % 2
        cells = planted(random, x, exponent=exponent, noise=noise, power=power)
        inside += holds(fit(x, cells, form=Form.floor), exponent)
    assert inside >= 95


def test_an_interval_that_always_held_would_be_of_no_use() -> None:
    random, other = np.random.default_rng(1), 0
    for _ in range(50):
        law = fit(SIZES, planted(random, SIZES), form=Form.floor)
        other += holds(law, 0.9) or holds(law, 0.2)
    assert other == 0


def test_a_cell_beyond_the_others_lies_inside_of_its_prediction_interval() -> None:
    random, inside = np.random.default_rng(2), 0
    for draw in range(100):
        cells = planted(random, SIZES, noise=[0.01, 0.05][draw % 2], power=draw // 2 % 2)
        told = fit(SIZES[:-1], cells[:-1], form=Form.floor).predicted(SIZES[-1], seeds=3)
        inside += told.low <= cells[-1].mean() <= told.high
    assert inside >= 90


@pytest.mark.parametrize("form", Form)
def test_without_noise_the_planted_law_is_found_exactly(form: Form) -> None:
    floor = 0.3 if form is Form.floor else 0.0
    # Two seeds, as far above the law as below it.
    cells = [[each - 1e-9, each + 1e-9] for each in floor + 2 * (SIZES / 1.0) ** -0.7]
    law = fit(SIZES, cells, form=form)
    assert law.exponent.value == pytest.approx(0.7, abs=1e-4)
    assert law.floor.value == pytest.approx(floor, abs=1e-4)
    assert law.scale.value == pytest.approx(2, abs=1e-4)
    assert law.at([1, 8]) == pytest.approx(floor + 2 * np.array([1, 8.0]) ** -0.7, abs=1e-5)


def test_the_best_law_is_the_one_that_least_squares_finds() -> None:
    cells = planted(np.random.default_rng(3), SIZES, noise=0.03)
    law = fit(SIZES, cells, form=Form.floor)
    spread = np.sqrt(law.spread.variance(np.array([cell.mean() for cell in cells])))
    means = [cell.mean() for cell in cells]
    found, _ = curve_fit(
        lambda x, c, a, b: c + a * x**-b, SIZES, means, p0=(0.1, 1, 0.5), sigma=spread
    )
    expected = (law.floor.value, law.scale.value, law.exponent.value)
    assert expected == pytest.approx(tuple(found), rel=1e-3)


def test_the_unit_of_sizes_changes_nothing() -> None:
    cells = planted(np.random.default_rng(4), SIZES)
    one, other = (fit(factor * SIZES, cells, form=Form.floor) for factor in (1, 1e6))
    assert other.exponent.low == pytest.approx(one.exponent.low)
    assert other.exponent.high == pytest.approx(one.exponent.high)
    assert other.floor.low == pytest.approx(one.floor.low)


def test_what_does_not_fall_has_no_bounded_exponent() -> None:
    cells = planted(np.random.default_rng(5), SIZES, exponent=0)
    law = fit(SIZES, cells, form=Form.floor)
    assert law.exponent.low == 0
    assert law.exponent.high is None
    low, high = law.band(SIZES)
    assert (low <= law.at(SIZES)).all()
    assert (law.at(SIZES) <= high).all()


def test_without_a_floor_a_law_may_rise() -> None:
    cells = [[each * 0.99, each * 1.01] for each in SIZES**0.5]
    law = fit(SIZES, cells, form=Form.plain)
    assert law.exponent.high is not None
    assert law.exponent.high < 0


def test_cells_that_lie_apart_from_the_law_widen_its_intervals() -> None:
    """Seeds that agree with each other on a bent curve say nothing about how well it is met."""
    level = 0.1 + SIZES**-0.5
    bent = level + 0.05 * np.array([1, -1, 1, -1, 1, -1])
    straight, crooked = (
        fit(SIZES, [[each - 0.001, each, each + 0.001] for each in row], form=Form.floor)
        for row in (level, bent)
    )
    assert crooked.spread.free == len(SIZES) - 3
    assert width(crooked) > 20 * width(straight)


def width(law: PowerLaw) -> float:
    low, high = law.exponent.low, law.exponent.high
    return float("inf") if low is None or high is None else high - low


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_seeds_that_are_all_the_same_leave_no_interval(level: float) -> None:
    law = fit([1, 2, 4], [[level, level]] * 3, form=Form.floor)
    told = law.predicted(8, seeds=2)
    assert (law.exponent.low, told.low, told.high) == (None, None, None)
    assert told.value == level


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_how_the_spread_goes_with_the_level_is_told_by_the_seeds(power: float) -> None:
    cells = planted(np.random.default_rng(6), SIZES, noise=0.05, power=power, seeds=40)
    assert spread_of(cells).power == power


@pytest.mark.parametrize(
    ("x", "values", "words"),
    [
        ([1, 2], [[1, 1]] * 2, "three sizes or more"),
        ([1, 2, 2], [[1, 1]] * 3, "all different"),
        ([0, 1, 2], [[1, 1]] * 3, "above 0"),
        ([1, 2, 3], [[1, 1], [1], [1, 1]], "two seeds or more"),
        ([1, 2, 3], [[1, 1]] * 2, "two seeds or more"),
        ([1, 2, 3], [[1, -1]] * 3, "not negative"),
        ([1, 2, 3], [[1, float("inf")]] * 3, "finite"),
    ],
)
def test_cells_that_no_law_can_be_fitted_to_are_refused(
    x: Sequence[float], values: Sequence[Sequence[float]], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        fit(x, values, form=Form.floor)
