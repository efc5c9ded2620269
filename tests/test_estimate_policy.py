"""``distillkit estimate`` of policy gradients through the real command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import SMOKE, CommandLine

TYPED = (*SMOKE, "name=here", "loop.batch_size=4")


def rows(distillkit: CommandLine, *overrides: str, repeats: int = 2) -> dict[str, dict[str, Any]]:
    """Rows of the file that an estimate leaves, by estimator."""
    done = distillkit("estimate", *TYPED, *overrides, "--repeats", str(repeats))
    assert (done.code, done.err) == (0, ""), done.err
    found = json.loads(Path("outputs/estimate/here.json").read_text())
    assert (found["repeats"], found["responses"]) == (repeats, 4)
    for row in found["rows"]:
        assert row["estimator"] in done.out
    return {row["estimator"]: row for row in found["rows"]}


def test_minillm_stands_beside_the_estimators_it_is_made_of(distillkit: CommandLine) -> None:
    found = rows(distillkit, "objective=minillm", "policy=teacher_mixed")
    assert len(found) == 7
    exact, sampled = found["each position alone, exact"], found["each position alone, sampled"]
    assert exact["noise"] < sampled["noise"]


def test_an_estimator_that_is_configured_as_another_gives_the_same_numbers(
    distillkit: CommandLine,
) -> None:
    found = rows(distillkit, "objective=sampled_kl", "policy=on_policy")
    alone, configured = found["each position alone, sampled"], found["as configured"]
    assert {**configured, "estimator": ""} == {**alone, "estimator": ""}


def test_a_baseline_takes_noise_away(distillkit: CommandLine) -> None:
    """The reward is high and nearly constant, so without a baseline it is mostly noise."""
    chosen = ["objective=reward", "reward=length", "reward.target=12", "objective.alpha=0"]
    found = rows(distillkit, *chosen, "policy=on_policy", "loop.group=4", repeats=4)
    assert found["baseline leave_one_out"]["noise"] < found["baseline none"]["noise"]
    group, one_out = found["baseline group"]["noise"], found["baseline leave_one_out"]["noise"]
    assert group == pytest.approx(one_out * 3 / 4, rel=1e-4)


def test_a_reward_needs_no_teacher(distillkit: CommandLine) -> None:
    chosen = ["objective=reward", "objective.alpha=0", "policy=on_policy", "loop.group=2"]
    assert rows(distillkit, *chosen, "teacher=null")


def test_the_same_estimate_again_has_the_same_rows(distillkit: CommandLine) -> None:
    chosen = ["objective=minillm", "policy=on_policy"]
    assert rows(distillkit, *chosen) == rows(distillkit, *chosen)
