"""Which answers a teacher is shown."""

import random
from collections import Counter

import pytest

from distillkit.lessons.base import ValidationRecord
from distillkit.lessons.choosing import choose

FAULTS = ["arithmetic"] * 20 + ["setup"] * 3 + ["unparsable"] + [None] * 10
RECORDS = [ValidationRecord(str(n), "?", "", "", fault is None) for n, fault in enumerate(FAULTS)]


def chosen(*, wrong=3, right=1, seed=0, faults=FAULTS):
    found = choose(RECORDS, faults, wrong=wrong, right=right, draw=random.Random(seed))
    return [FAULTS[int(record.id)] for record in found]


def test_every_kind_of_error_is_shown_as_often_as_it_occurs():
    shown = Counter(fault for seed in range(800) for fault in chosen(seed=seed, right=0))
    assert {kind: round(count / 100, 0) for kind, count in shown.items()} == {
        "arithmetic": 20,
        "setup": 3,
        "unparsable": 1,
    }


def test_a_common_kind_is_in_every_sample_and_never_all_of_a_large_one():
    for seed in range(200):
        found = Counter(chosen(wrong=12, right=0, seed=seed))
        assert found["arithmetic"] == 10
        assert found["setup"] + found["unparsable"] == 2


def test_right_answers_come_last():
    found = chosen(wrong=2, right=2)
    assert None not in found[:2]
    assert found[2:] == [None, None]


def test_no_record_is_shown_twice_and_none_is_made_up():
    found = choose(RECORDS, FAULTS, wrong=99, right=99, draw=random.Random(0))
    assert sorted(int(record.id) for record in found) == list(range(len(RECORDS)))


def test_each_draw_shows_others():
    def ids(seed):
        found = choose(RECORDS, FAULTS, wrong=3, right=1, draw=random.Random(seed))
        return tuple(record.id for record in found)

    assert ids(0) == ids(0)
    assert len({ids(seed) for seed in range(20)}) > 10


@pytest.mark.parametrize(("wrong", "right"), [(0, 0), (0, 2), (2, 0)])
def test_as_many_as_asked_for(wrong, right):
    kinds = [fault is None for fault in chosen(wrong=wrong, right=right)]
    assert (kinds.count(False), kinds.count(True)) == (wrong, right)
