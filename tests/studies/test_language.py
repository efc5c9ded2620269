"""Precision and recall of language models by temperature: by hand, and through the verb."""

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distillkit.compose import compose
from distillkit.evaluation.explanation_study.trade import (
    Measured,
    Way,
    above_the_curve,
    by_temperature,
    tabulated,
)
from distillkit.programs.study.explanation.language import agreement, plan
from distillkit.run_studies import LanguageStudy

from ..conftest import CommandLine, Start

CURVE = [(0.5, -1.0, -3.0), (1.0, -2.0, -1.0)]
"""Temperature, precision, recall."""


def students(*others: tuple[str, float, float]) -> list[Measured]:
    return [
        Measured(way, seed, precision + 0.1 * seed, recall, 1.0)
        for way, precision, recall in [
            *((Way(f"text at {tau:g}", tau), p, r) for tau, p, r in CURVE),
            *((Way(name, None), p, r) for name, p, r in others),
        ]
        for seed in range(3)
    ]


def test_a_way_is_compared_with_text_of_the_same_recall() -> None:
    # Half way between both ends of the curve, where text has -1.5.
    found = dict(above_the_curve(students(("reverse kl", -1.2, -2.0), ("far", -1.0, -4.0))))
    assert found.keys() == {"reverse kl"}
    assert found["reverse kl"].estimate == pytest.approx(0.3)


def test_correlations_take_every_temperature_and_seed() -> None:
    precision, recall = by_temperature(students(("reverse kl", -9.0, -9.0)))
    assert precision.n == recall.n == 6
    assert recall.estimate == pytest.approx(1)
    # Ranks 1 to 3 at the sharp end and 4 to 6 at the other, each in the order of seeds.
    assert precision.estimate < -0.8


def test_the_table_has_means_and_spreads_of_each_way() -> None:
    rows = tabulated(students(("reverse kl", -1.2, -2.0)))
    assert [row["way"] for row in rows] == ["text at 0.5", "text at 1", "reverse kl"]
    assert rows[0]["precision_mean"] == pytest.approx(-0.9)
    assert rows[0]["precision_std"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("precision", "recall", "said"),
    [
        ((-0.9, -0.2), (0.2, 0.9), "Agrees"),
        ((-0.9, 0.2), (0.2, 0.9), "precision does not"),
        ((-0.9, -0.2), (-0.2, 0.9), "recall does not"),
        ((None, None), (None, None), "Neither"),
    ],
)
def test_what_is_said_follows_the_intervals(
    precision: tuple[float | None, ...], recall: tuple[float | None, ...], said: str
) -> None:
    found = [{"low": low, "high": high} for low, high in (precision, recall)]
    assert said in agreement({"temperature": found})


def test_every_way_of_the_defaults_can_be_trained() -> None:
    run: LanguageStudy = compose("language", []).run
    planned = plan(run)
    assert len(planned) == 3 * (len(run.taus) + len(run.divergences))
    assert len({training.name for training in planned.values()}) == len(planned)
    own = planned[Way("reverse kl own text", None), 0].overrides
    assert "policy=on_policy" in own
    assert "policy=seq_kd" not in own


TINY = (
    *("study", "explanation", "language", "name=a", "taus=[0.5,1]", "limit=8", "samples=1"),
    *("train.debug=smoke", "train.tracker=none", "train.steps=2"),
    *(f"~divergences.{name}" for name in ("forward_kl", "jsd_10", "jsd_50", "jsd_90")),
    *("~divergences.reverse_kl", "~divergences.reverse_kl_own_text"),
)


@pytest.fixture(scope="module")
def whole(distillkit_process: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study; not to be changed."""
    place = tmp_path_factory.mktemp("whole")
    done = distillkit_process(*TINY, folder=place)
    assert done.code == 0, done.err
    return place / "outputs/study/language/a"


def test_rows_are_what_the_evaluations_say(whole: Path) -> None:
    with (whole / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["tau"], row["seed"]) for row in rows] == [
        (tau, seed) for tau in ("0.5", "1.0") for seed in "012"
    ]
    kept = json.loads((whole / "train/text-at-1-2/evaluation/test/results.json").read_text())
    assert kept["metrics"]["precision_recall"] == {"truth": "teacher"}
    own = kept["numbers"]["student"]["precision_recall"]
    assert float(rows[5]["recall"]) == own["recall"]["value"]


def test_a_study_killed_twice_ends_as_one_that_was_not(
    whole: Path, started: Start, distillkit_process: Callable[..., Any], tmp_path: Path
) -> None:
    place = tmp_path / "outputs/study/language/a"
    shutil.copytree(whole, place)
    for left in ("runs.csv", "table.csv", "summary.json", "language.png"):
        (place / left).unlink()
    last = place / "train/text-at-1-2"
    shutil.rmtree(last)
    for reached in (last / "log.txt", last / "summary.json"):
        process = started(*TINY, folder=tmp_path)
        while process.poll() is None and not reached.exists():
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert distillkit_process(*TINY, folder=tmp_path).code == 0
    for name in ("runs.csv", "table.csv"):
        assert (place / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("taus=[0,1]", "taus"),
        ("taus=[1]", "taus"),
        ("seeds=[0,1]", "seeds"),
        ("limit=0", "limit"),
        ("train.student=nobody", "student"),
        ("+divergences.mine='divergence=nothing'", "nothing"),
        ("jobs=0", "jobs"),
    ],
)
def test_bad_settings_are_one_sentence(
    override: str, names: str, distillkit: CommandLine, tmp_path: Path
) -> None:
    refused = distillkit(*TINY, override)
    assert refused.code == 2, refused.out
    assert names in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not (tmp_path / "outputs").exists()
