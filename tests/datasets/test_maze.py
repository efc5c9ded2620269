"""The maze: one way between any two rooms, judged by doors and steps alone."""

from itertools import pairwise

import pytest

from distillkit.core.errors import ConfigError
from distillkit.core.types import Example, Split
from distillkit.datasets.maze import Maze, way, written

MAZE = Maze(size=5)
DOORS = MAZE.doors()


def asked(start: int, goal: int) -> Example:
    return next(
        each
        for split in Split
        for each in Maze(size=5, train=1000, test=1000, validation=1000).examples(split)
        if each.id == f"maze-{start:02}-{goal:02}"
    )


def test_the_doors_are_a_tree_over_all_rooms_between_neighbours() -> None:
    assert sorted(DOORS) == [10 * row + column for row in range(5) for column in range(5)]
    edges = {frozenset((here, there)) for here, others in DOORS.items() for there in others}
    assert len(edges) == 24
    assert all(here in DOORS[there] for here, others in DOORS.items() for there in others)
    assert {abs(a - b) for a, b in edges} <= {1, 10}
    assert all(way(DOORS, 0, room)[-1] == room for room in DOORS)


def test_splits_share_no_pair_and_hold_all_of_them() -> None:
    pairs = [pair for split in Split for pair in MAZE.pairs(split)]
    assert len(pairs) == len(set(pairs)) == 25 * 24
    assert [len(MAZE.pairs(split)) for split in Split] == [480, 60, 60]


@pytest.mark.parametrize("split", list(Split))
def test_every_reference_is_the_shortest_walk_and_right(split: Split) -> None:
    for example in MAZE.examples(split):
        start, goal = (int(word) for word in example.question.split(" to "))
        walk = [int(word) for word in example.reference.split()]
        assert (walk[0], walk[-1]) == (start, goal)
        assert len(walk) == len(set(walk))
        assert all(there in DOORS[here] for here, there in pairwise(walk))
        assert MAZE.is_correct(example, example.reference)


def test_a_detour_is_forgiven_within_patience_and_a_wall_never() -> None:
    start, goal = max(MAZE.pairs(Split.test), key=lambda pair: len(way(DOORS, *pair)))
    example, right = asked(start, goal), way(DOORS, start, goal)
    beside = (
        next(room for room in DOORS[start] if room != right[1]) if len(DOORS[start]) > 1 else None
    )
    there_and_back = [start, beside or right[1], *right]
    assert MAZE.is_correct(example, written(there_and_back))
    assert not Maze(size=5, patience=1.0).is_correct(example, written(there_and_back))
    long = [start, right[1]] * len(right) + right
    assert not MAZE.is_correct(example, written(long))
    wall = next(room for room in DOORS if room not in (*DOORS[start], start))
    for wrong in ([start, wall, *way(DOORS, wall, goal)[1:]], right[:-1], right[1:], [start, 99]):
        assert not MAZE.is_correct(example, written(wrong))
    for text in ("", " 00 to 11", written(right) + " !", " ²"):
        assert not MAZE.is_correct(example, text)


def test_seeds_give_other_mazes_and_near_and_far_bound_the_ways() -> None:
    assert Maze(size=5, seed=1).doors() != DOORS
    for example in Maze(size=5, near=3, far=4).examples(Split.train):
        assert len(example.reference.split()) - 1 in (3, 4)
    with pytest.raises(ConfigError, match=r"leave no pair of rooms for the train split"):
        Maze(size=2, near=30).examples(Split.train)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"size": 11}, "dataset.size=11"),
        ({"near": 5, "far": 4}, "dataset.near=5"),
        ({"patience": 0.5}, "dataset.patience=0.5"),
        ({"train": 0}, "dataset.train=0"),
    ],
)
def test_settings_that_make_no_maze_are_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Maze(**fields)
