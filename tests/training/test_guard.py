"""When a guard speaks, what it says, and that rows of a journal put it back where it stood."""

import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from statistics import fmean

import pytest
import yaml

from distillkit.compose import conf_folder
from distillkit.core.errors import ConfigError
from distillkit.training.guard import RULES, Guard, GuardSettings

Row = dict[str, float]

OFF = dict.fromkeys((rule.field for rule in RULES), None)

CASES = {
    "repetition": ([{"repetition": 0.5}], {"repetition": 0.5002}),
    "length_ratio": (
        [{"response_length": 10.0}, {"response_length": 20.0}],
        {"response_length": 21.0},
    ),
    "shrinkage": ([{"response_length": 50.0}, {"response_length": 5.0}], {"response_length": 4.9}),
    "truncated_share": ([{"truncated_share": 0.5}], {"truncated_share": 0.6}),
    "entropy": ([{"entropy": 0.01}], {"entropy": 0.009}),
    "reverse_kl": ([{"reverse_kl": 3.0}], {"reverse_kl": 3.1}),
    "clipped_share": ([{"clipped_share": 0.5}], {"clipped_share": 0.51}),
    "importance_weight": ([{"importance_weight": 0.875}], {"importance_weight": 0.8}),
    "hacking": (
        [{"reward": 1.0, "teacher_log_prob": -1.0}, {"reward": 2.0, "teacher_log_prob": -1.5}],
        {"reward": 2.0, "teacher_log_prob": -1.6},
    ),
}
"""Of each rule, updates that keep it, the last one just so, and one that breaks it."""

BOUNDS = {"reverse_kl": 3.0, "importance_weight": 0.125}
"""Bounds that are off by default, or that floats do not meet."""


def spoken(guard: Guard, rows: Sequence[Row], *, start: int = 1) -> list[list[str]]:
    return [guard.look(start + place, row) for place, row in enumerate(rows)]


def only(field: str, **more: object) -> GuardSettings:
    """Settings with one rule alone, at its own bound."""
    bound = BOUNDS.get(field, getattr(GuardSettings(), field))
    return GuardSettings(**{**OFF, field: bound, **more})


def test_there_is_a_case_for_every_rule_and_a_bound_for_every_field() -> None:
    assert set(CASES) == {rule.field for rule in RULES}
    assert {field.name for field in fields(GuardSettings)} == set(CASES) | {"window", "stop"}


@pytest.mark.parametrize("field", CASES)
def test_a_rule_is_kept_at_its_bound_and_broken_beyond(field: str) -> None:
    kept, broken = CASES[field]
    guard = Guard(only(field, window=1))
    assert spoken(guard, kept) == [[] for _ in kept]
    (line,) = guard.look(77, broken)
    bound = getattr(only(field), field)
    assert f"guard.{field}={bound:g}" in line
    assert line.startswith("since step 77 ")
    assert "(mean of steps 77 to 77)" in line
    assert "Try " in line
    assert list(guard.broken) == [field]


@pytest.mark.parametrize("field", CASES)
def test_a_rule_without_a_bound_says_nothing(field: str) -> None:
    kept, broken = CASES[field]
    guard = Guard(GuardSettings(**OFF, window=1))
    assert not any(spoken(guard, [*kept, broken, broken]))


def test_a_warning_tells_the_value() -> None:
    (line,) = Guard(only("repetition", window=1)).look(3, {"repetition": 0.625})
    assert "the share of repeated 4-grams is 0.625 (mean of steps 3 to 3), above " in line


def test_all_healthy_numbers_say_nothing_at_the_settings_as_they_are() -> None:
    healthy = {
        **{"repetition": 0.1, "response_length": 40.0, "truncated_share": 0.05, "entropy": 0.7},
        **{"reverse_kl": 0.2, "clipped_share": 0.1, "importance_weight": 1.01},
        **{"reward": 0.5, "teacher_log_prob": -0.6, "loss": 0.2},
    }
    assert not any(spoken(Guard(GuardSettings()), [healthy] * 50))


def test_no_rule_speaks_before_the_window_is_full() -> None:
    guard = Guard(only("repetition", window=4))
    first, *rest = spoken(guard, [{"repetition": 1.0}] * 4)[::-1]
    assert len(first) == 1
    assert not any(rest)


def test_one_bad_update_among_good_ones_is_no_reason() -> None:
    rows = [{"repetition": 0.3}] * 5 + [{"repetition": 1.0}] + [{"repetition": 0.3}] * 5
    assert not any(spoken(Guard(only("repetition", window=5)), rows))


def test_the_mean_is_over_the_newest_updates_that_have_the_number() -> None:
    guard = Guard(only("repetition", window=3))
    rows = [{"repetition": 0.9}, {}, {"repetition": 0.3}, {"loss": 1.0}, {"repetition": 0.2}]
    assert not any(spoken(guard, rows))
    assert spoken(guard, [{"loss": 1.0}, {"repetition": 0.9}], start=6) == [[], []]
    (line,) = guard.look(9, {"repetition": 0.55})
    assert "is 0.55 (mean of steps 5 to 9)" in line


def test_lengths_are_held_against_the_first_window_however_slowly_they_grow() -> None:
    rows = [{"response_length": 10 * 1.02**step} for step in range(60)]
    lines = [line for line in spoken(Guard(only("length_ratio", window=5)), rows) if line]
    ratio = next(k for k in range(60) if 1.02**k > 2)
    assert len(lines) == 1
    assert lines[0][0].startswith(f"since step {ratio + 5} ")


def test_a_broken_rule_warns_once_and_again_after_it_recovered() -> None:
    guard = Guard(only("repetition", window=2))
    course = [0.9] * 6 + [0.2] * 6 + [0.9] * 3
    said = spoken(guard, [{"repetition": x} for x in course])
    assert [step for step, lines in enumerate(said, 1) if lines] == [2, 13]
    assert guard.broken["repetition"] == said[12][0]
    spoken(guard, [{"repetition": 0.2}] * 3, start=16)
    assert guard.broken == {}


def test_a_number_about_its_bound_does_not_warn_at_every_crossing() -> None:
    chance = random.Random(1)
    course = [chance.random() for _ in range(500)]
    means = [fmean(course[end - 10 : end]) for end in range(10, 501)]
    crossings = sum(a <= 0.5 < b for a, b in pairwise(means))
    said = spoken(Guard(only("repetition", window=10)), [{"repetition": x} for x in course])
    # Ten judgements in a row that keep the rule come before each warning but the first.
    runs = "".join("x" if mean > 0.5 else "." for mean in means)
    assert sum(map(len, said)) == len([part for part in re.split(r"\.{10,}", runs) if "x" in part])
    assert sum(map(len, said)) < crossings / 3


def test_updates_without_the_number_are_no_recovery() -> None:
    guard = Guard(only("repetition", window=2))
    rows = [*[{"repetition": 0.9}] * 2, {"repetition": 0.1}, *[{"loss": 1.0}] * 9]
    assert sum(map(len, spoken(guard, rows))) == 1
    assert spoken(guard, [{"repetition": 0.95}], start=13) == [[]]
    assert spoken(guard, [{"repetition": 0.1}] * 2, start=14) == [[], []]
    assert guard.broken


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_number_is_passed_over(odd: float) -> None:
    guard = Guard(only("repetition", window=2))
    rows = [{"repetition": x} for x in (0.9, odd, 0.9)]
    assert [len(lines) for lines in spoken(guard, rows)] == [0, 0, 1]


def rewarded(*pairs: tuple[float, float]) -> list[Row]:
    return [{"reward": reward, "teacher_log_prob": teacher} for reward, teacher in pairs]


def test_a_reward_that_falls_with_the_teachers_opinion_is_not_hacked() -> None:
    rows = rewarded(*((1 - 0.1 * step, -1 - 0.1 * step) for step in range(30)))
    assert not any(spoken(Guard(only("hacking", window=3)), rows))


def test_a_teacher_that_agrees_more_and_more_is_not_hacked() -> None:
    rows = rewarded(*((0.1 * step, -4 + 0.1 * step) for step in range(30)))
    assert not any(spoken(Guard(only("hacking", window=3)), rows))


def test_hacking_that_begins_late_and_slowly_is_seen_from_the_teachers_height() -> None:
    rows = rewarded(*((0.1 * step, -4 + 0.1 * step) for step in range(31)))
    rows += rewarded(*((3 + 0.01 * step, -1 - 0.02 * step) for step in range(1, 60)))
    guard = Guard(only("hacking", window=1))
    said = {step: lines for step, lines in enumerate(spoken(guard, rows), 1) if lines}
    # The height is at step 31; 0.02 a step has fallen by more than 0.5 after 26 steps.
    assert list(said) == [57]
    assert "the reward is hacked" in said[57][0]


def noisy_rows() -> list[Row]:
    """A run that breaks several rules and recovers, with rows of validations between."""
    chance = random.Random(4)
    rows = []
    for step in range(1, 121):
        wave = 0.5 + 0.4 * math.sin(step / 9)
        rows.append(
            {
                "step": step,
                "repetition": wave + 0.1 * chance.random(),
                "truncated_share": 1 - wave,
                "response_length": 10 + 30 * wave * chance.random(),
                "reward": chance.gauss(step / 60, 0.1),
                "teacher_log_prob": chance.gauss(-1 - step / 60, 0.1),
            }
        )
        if step % 10 == 0:
            rows.append({"step": step, "validation/accuracy": chance.random()})
    return rows


@pytest.mark.parametrize("cut", [0, 1, 17, 40, 66, 100])
def test_rows_of_a_journal_put_a_guard_back_where_it_stood(cut: int) -> None:
    settings = GuardSettings(window=5)
    whole, resumed = Guard(settings), Guard(settings)
    rows = noisy_rows()
    before = [whole.look(int(row["step"]), row) for row in rows]
    assert sum(map(len, before)) > 4
    for row in rows[:cut]:
        read = json.loads(json.dumps(row))
        resumed.look(read["step"], read)
    after = [resumed.look(int(row["step"]), row) for row in rows[cut:]]
    assert after == before[cut:]
    assert resumed.broken == whole.broken


@pytest.mark.parametrize("stop", [False, True])
def test_only_a_broken_rule_stops_and_only_where_it_was_asked(stop: bool) -> None:
    guard = Guard(only("repetition", window=1, stop=stop))
    guard.look(1, {"repetition": 0.1})
    assert not guard.stops
    (line,) = guard.look(2, {"repetition": 0.9})
    assert guard.stops is stop
    assert line in guard.verdict()
    assert "guard.stop=false goes on" in guard.verdict()


def test_the_committed_bounds_are_those_of_the_class() -> None:
    written = yaml.safe_load((conf_folder() / "settings" / "training.yaml").read_text())["guard"]
    assert GuardSettings(**written) == GuardSettings()
    assert set(written) == {field.name for field in fields(GuardSettings)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field in ("repetition", "truncated_share") for value in (-0.1, 1.1)),
        *(("clipped_share", math.nan), ("length_ratio", -1.0), ("shrinkage", math.inf)),
        *(("entropy", -0.1), ("reverse_kl", math.nan), ("importance_weight", -1.0)),
        *(("hacking", -0.5), ("window", 0)),
    ],
)
def test_bounds_that_mean_nothing_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^guard\.{field} .*{value}\."):
        GuardSettings(**{field: value})
