"""Distillation on mixtures of Gaussians: anchors, reference values, and the verb."""

import csv
import json
from collections.abc import Callable
from math import log, pi, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from distillkit.core.errors import ConfigError
from distillkit.evaluation.explanation_study import fitting
from distillkit.evaluation.explanation_study.fitting import fit
from distillkit.evaluation.explanation_study.mixture import Mixture, truth
from distillkit.evaluation.explanation_study.precision_recall import measured
from distillkit.evaluation.explanation_study.settings import Fit, Levels
from distillkit.programs.study.explanation.mixture import agreement, tabulated, trades

from ..conftest import CommandLine, Start

TRUTH = truth(0.025, 1.0)
UNEVEN = Mixture(np.array([0.1, 0.2, 0.7]), np.zeros((3, 2)), np.ones((3, 2)))

PAPER: dict[float | None, dict[str, tuple[float, float | None]]] = {
    None: {
        "precision": (-7.34, 0.29),
        "recall": (-2.59, 0.01),
        "precision_as_coded": (-17.6, None),
    },
    1: {
        "precision": (-7.41, 0.35),
        "recall": (-2.60, 0.01),
        "precision_as_coded": (-6.40, None),
        "teacher_entropy": (1.36, None),
    },
    2: {
        "precision": (-7.47, 0.29),
        "recall": (-2.61, 0.03),
        "precision_as_coded": (-6.47, None),
        "teacher_entropy": (1.30, None),
    },
    5: {
        "precision": (-7.35, 0.40),
        "recall": (-2.82, 0.20),
        "precision_as_coded": (-6.43, None),
        "teacher_entropy": (1.04, None),
    },
    10: {
        "precision": (-6.63, 1.16),
        "recall": (-4.11, 2.06),
        "precision_as_coded": (-5.65, None),
        "teacher_entropy": (0.70, None),
    },
    100: {
        "precision": (-2.88, 0.61),
        "recall": (-42.2, 17.4),
        "precision_as_coded": (-0.72, None),
        "teacher_entropy": (0.04, None),
    },
}
"""Means and spreads over 20 seeds of another implementation of the paper's recipe, 100 points."""

PLENTY: dict[float | None, dict[str, tuple[float, float | None]]] = {
    100: {"precision": (-5.81, 1.76), "recall": (-9.2, 11.3), "teacher_entropy": (0.50, None)},
}
"""The same with 5,000 points."""

TWO: dict[float | None, dict[str, tuple[float, float | None]]] = {
    None: {"precision": (-5.82, None), "recall": (-2.41, None)},
    100: {"precision": (-3.26, 0.77), "recall": (-8.5, 9.8)},
}
"""The same with 5,000 points and students of two components."""


def test_a_power_of_one_leaves_weights_and_a_large_one_leaves_the_heaviest() -> None:
    assert UNEVEN.sharpened(1).weights == pytest.approx(UNEVEN.weights)
    assert UNEVEN.sharpened(2).weights == pytest.approx(np.array([1, 4, 49]) / 54)
    assert UNEVEN.sharpened(1e6).weights == pytest.approx([0, 0, 1])
    assert UNEVEN.sharpened(1e6).entropy == 0
    assert TRUTH.entropy == pytest.approx(log(8))


def test_densities_are_those_of_the_mixture() -> None:
    one = Mixture(np.ones(1), np.array([[1.0, -1.0]]), np.array([[0.5, 2.0]]))
    expected = -log(2 * pi) - 0.5 * log(0.5 * 2.0) - 0.5 * (1 / 0.5 + 4 / 2.0)
    assert one.log_density(np.array([[0.0, 1.0]])) == pytest.approx([expected])
    points = TRUTH.sample(200_000, np.random.default_rng(0))
    assert TRUTH.log_density(points).mean() == pytest.approx(-1.2, abs=0.05)
    assert points.var(0) == pytest.approx([0.775, 0.775], rel=0.01)


@pytest.mark.parametrize("how", Fit)
def test_one_gaussian_fitted_to_the_truth_is_the_closed_form(how: Fit) -> None:
    points = TRUTH.sample(20_000, np.random.default_rng(0))
    found = fit(points, 1, how=how, seed=0)
    assert found.means == pytest.approx(points.mean(0)[None], abs=1e-3)
    assert found.variances == pytest.approx(points.var(0)[None], rel=1e-3)
    fresh = TRUTH.sample(20_000, np.random.default_rng(1))
    assert found.log_density(fresh).mean() == pytest.approx(-(log(2 * pi * 0.775) + 1), abs=0.02)


def test_em_and_gradient_find_the_same_mixture() -> None:
    points = TRUTH.sample(4_000, np.random.default_rng(0))
    found = [fit(points, 8, how=how, seed=0).log_density(points).mean() for how in Fit]
    assert found[0] == pytest.approx(found[1], abs=0.01)


def check(found: list[dict[str, Any]], reference: dict[Any, dict[str, Any]]) -> None:
    """Means are no further apart than three standard errors of their difference."""
    for beta, expected in reference.items():
        own = [row for row in found if row["beta"] == beta]
        for name, (mean, spread) in expected.items():
            values = [row[name] for row in own]
            other = stdev(values) if spread is None else spread
            reach = 3 * sqrt((stdev(values) ** 2 + other**2) / len(values)) + 0.005
            assert fmean(values) == pytest.approx(mean, abs=reach), (beta, name)


@pytest.mark.parametrize(
    ("levels", "reference"),
    [
        (Levels(), PAPER),
        (Levels(data=5000), PLENTY),
        (Levels(data=5000, student=2), TWO),
    ],
    ids=["paper", "plenty of data", "two components"],
)
def test_reference_values_come_out(levels: Levels, reference: dict[Any, Any]) -> None:
    betas = [beta for beta in reference if beta is not None]
    check([row for seed in range(20) for row in measured(levels, betas, seed)], reference)


def test_with_plenty_of_data_a_small_power_does_nothing() -> None:
    rows = [row for seed in range(10) for row in measured(Levels(data=5000), [10], seed)]
    (direct, sharp) = tabulated(rows, published={})
    assert sharp["precision_mean"] == pytest.approx(direct["precision_mean"], abs=0.3)
    assert sharp["recall_mean"] == pytest.approx(direct["recall_mean"], abs=0.1)


def test_uneven_true_weights_make_a_small_power_act_whatever_the_data() -> None:
    levels = Levels(data=5000, ratio=0.6)
    rows = [row for seed in range(5) for row in measured(levels, [10], seed)]
    (direct, sharp) = tabulated(rows, published={})
    assert sharp["precision_mean"] > direct["precision_mean"] + 1
    assert sharp["recall_mean"] < direct["recall_mean"] - 1


def test_the_table_and_the_trade_are_those_of_a_hand() -> None:
    names = ("precision", "recall", "precision_as_coded", "recall_as_coded")

    def row(seed: int, beta: float | None, value: float) -> dict[str, Any]:
        entropy = None if beta is None else value
        return {
            "seed": seed,
            "beta": beta,
            **dict.fromkeys(names, value),
            "teacher_entropy": entropy,
        }

    rows = [row(0, None, 1.0), row(0, 7, 2.0), row(1, None, 3.0), row(1, 7, 5.0)]
    direct, sharp = tabulated(rows, published={})
    assert (direct["beta"], direct["seeds"], direct["precision_mean"]) == (None, 2, 2.0)
    assert direct["teacher_entropy_mean"] is None
    assert sharp["recall_std"] == pytest.approx(stdev([2.0, 5.0]))
    precision, recall = trades(rows)
    assert precision.estimate == recall.estimate == 1.5
    assert trades(rows[:2]) == []


@pytest.mark.parametrize(
    ("precision", "recall", "said"),
    [((1, 2), (-2, -1), "Agrees"), ((-1, 2), (-2, -1), "Recall falls"), ((1, 2), (-1, 1), "rises")],
)
def test_what_is_said_follows_the_intervals(
    precision: tuple[float, float], recall: tuple[float, float], said: str
) -> None:
    trade = [{"low": low, "high": high} for low, high in (precision, recall)]
    assert said in agreement({"trade": trade})


SMALL = ("study", "explanation", "mixture", "tracker=none", "name=a", "betas=[1,100]")


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.csv")}


def test_the_verb_leaves_tables_and_a_picture_and_says_so_again(
    distillkit: CommandLine, tmp_path: Path, wide: None
) -> None:
    done = distillkit(*SMALL, "seeds=[0,1,2]")
    assert done.code == 0, done.err
    folder = tmp_path / "outputs/study/mixture/a"
    with (folder / "seeds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["beta"]) for row in rows] == [
        (seed, beta) for seed in "012" for beta in ("", "1.0", "100.0")
    ]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["table"][0]["precision_as_coded_published"] == -20.266
    assert (folder / "mixture.png").stat().st_size > 10_000
    assert "direct" in done.out
    assert "[-20.27]" in done.out
    again = distillkit(*SMALL, "seeds=[0,1,2]")
    assert "already done" in again.out
    larger = distillkit(*SMALL[:-2], "name=b", "betas=[1,100]", "seeds=[0,1]", "levels.data=200")
    assert larger.code == 0, larger.err
    assert "[-20.27]" not in larger.out
    other = distillkit(*SMALL, "seeds=[0,1]")
    assert other.code == 2
    assert "seeds" in other.err
    assert len(other.err.splitlines()) == 1


def test_a_study_that_was_killed_ends_as_one_that_was_not(
    started: Start, distillkit_process: Callable[..., Any], tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    asked = (*SMALL, "seeds=[0,1,2,3,4,5]")
    assert distillkit_process(*asked, folder=whole).code == 0
    place = broken / "outputs/study/mixture/a"
    for seed in (0, 2):
        process = started(*asked, folder=broken)
        while process.poll() is None and not (place / f"seed-{seed}.json").exists():
            pass
        process.kill()
        process.wait()
    assert distillkit_process(*asked, folder=broken).code == 0
    assert files(place) == files(whole / "outputs/study/mixture/a")


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("betas=[]", "betas=[]"),
        ("betas=[1,1]", "betas"),
        ("betas=[0]", "betas"),
        ("seeds=[-1]", "seeds"),
        ("levels.data=0", "levels.data"),
        ("levels.teacher=200", "levels.teacher=200"),
        ("levels.ratio=0", "levels.ratio"),
        ("levels.variance=nan", "levels.variance"),
        ("levels.samples=100000000000", "levels.samples"),
    ],
)
def test_bad_settings_are_one_sentence(
    override: str, names: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    refused = distillkit(*SMALL, override)
    assert refused.code == 2
    assert names in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_without_scikit_learn_nothing_is_begun(
    monkeypatch: pytest.MonkeyPatch, distillkit: CommandLine, tmp_path: Path
) -> None:
    monkeypatch.setattr(fitting, "find_spec", lambda _: None)
    refused = distillkit(*SMALL)
    assert refused.code == 2
    assert "distillkit[study]" in refused.err
    assert not (tmp_path / "outputs").exists()


def test_levels_refuse_more_components_than_points() -> None:
    with pytest.raises(ConfigError, match="levels.drawn=3"):
        Levels(student=4, drawn=3)
