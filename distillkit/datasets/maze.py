"""Ways through a maze, room by room: a world in which one wrong turn leads where no lesson went.

The maze is a tree of rooms, so there is one way from any room to any other, and from every wrong
turn there is a way back. A dataset's own text never leaves the right way; a student's does.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise

from distillkit.core.bounds import check_least
from distillkit.core.errors import ConfigError
from distillkit.core.seeds import child_random
from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.base import Dataset, ask

SHARES = {Split.train: (0.0, 0.8), Split.validation: (0.8, 0.9), Split.test: (0.9, 1.0)}
"""Which part of all pairs of rooms each split draws from."""

Room = int
"""Row and column as two digits."""


@spec("dataset/maze")
class Maze(Dataset):
    """Pairs of rooms; the answer is a walk from one to the other.

    A walk is right where it takes only open doors, ends in the room that was asked for, and takes
    no more than ``patience`` times the steps that are needed: detours are forgiven, not walls.
    """

    seed: int = 0
    """Root of the maze, and of which pairs are in which split."""
    size: int = 8
    """Rooms on a side."""
    near: int = 1
    """Fewest steps between the rooms of a pair."""
    far: int = 40
    """Most steps between them."""
    patience: float = 2.0
    """Steps that a right walk may take, over those that are needed."""
    train: int = 200
    """Pairs in the training split; all there are, where that is fewer."""
    validation: int = 200
    """Pairs in the validation split."""
    test: int = 500
    """Pairs in the test split."""

    def __post_init__(self) -> None:
        if not 2 <= self.size <= 10:
            raise ConfigError(f"dataset.size={self.size} must lie between 2 and 10.")
        if not 1 <= self.near <= self.far:
            raise ConfigError(
                f"dataset.near={self.near} and dataset.far={self.far}: give 1 <= near <= far."
            )
        check_least(self, "dataset.", 1, "patience", *Split)

    def examples(self, split: Split) -> Sequence[Example]:
        doors = self.doors()
        found = [
            Example(
                id=f"maze-{start:02}-{goal:02}",
                prompt=ask(f"{start:02} to {goal:02}"),
                reference=written(path),
                answer=f"{goal:02}",
            )
            for start, goal in self.pairs(split)
            if self.near <= len(path := way(doors, start, goal)) - 1 <= self.far
        ]
        if not found:
            raise ConfigError(
                f"dataset.near={self.near} and dataset.far={self.far} leave no pair of rooms for "
                f"the {split} split. Widen them, or give a larger dataset.size."
            )
        return found[: getattr(self, split)]

    def extract(self, text: str) -> str | None:
        last = text.split()[-1:]
        return last[0] if last and last[0].isdecimal() else None

    def is_correct(self, example: Example, text: str) -> bool:
        start, goal = (int(word) for word in example.question.split(" to "))
        words = text.split()
        if not all(word.isdecimal() for word in words):
            return False
        doors, walked = self.doors(), [int(word) for word in words]
        needed = len(way(doors, start, goal)) - 1
        open_doors = all(there in doors.get(here, ()) for here, there in pairwise(walked))
        return (
            walked[:1] == [start]
            and walked[-1] == goal
            and open_doors
            and len(walked) - 1 <= self.patience * needed
        )

    def doors(self) -> Mapping[Room, Sequence[Room]]:
        """The neighbours that each room has a door to: a random tree over all rooms."""
        return dug(self.seed, self.size)

    def pairs(self, split: Split) -> Sequence[tuple[Room, Room]]:
        """All pairs of rooms that a split may ask for, in an order of their own."""
        rooms = sorted(self.doors())
        every = [(start, goal) for start in rooms for goal in rooms if start != goal]
        child_random(self.seed, "pairs", self.size).shuffle(every)
        low, high = (round(share * len(every)) for share in SHARES[split])
        return every[low:high]


@cache
def dug(seed: int, size: int) -> Mapping[Room, Sequence[Room]]:
    """Doors of a maze: from what is dug, through a wall drawn at random, to what is not yet."""
    draw = child_random(seed, "maze", size)
    doors: dict[Room, list[Room]] = {0: []}
    walls = [(0, room) for room in around(0, size)]
    while walls:
        here, there = walls.pop(draw.randrange(len(walls)))
        if there not in doors:
            doors[here].append(there)
            doors[there] = [here]
            walls += [(there, room) for room in around(there, size)]
    return doors


def around(room: Room, size: int) -> list[Room]:
    """The rooms above, below and beside one."""
    row, column = divmod(room, 10)
    steps = ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1))
    return [10 * up + along for up, along in steps if 0 <= up < size and 0 <= along < size]


def way(doors: Mapping[Room, Sequence[Room]], start: Room, goal: Room) -> list[Room]:
    """The shortest walk, both ends included."""
    came: dict[Room, Room] = {goal: goal}
    waiting = deque([goal])
    while start not in came:
        room = waiting.popleft()
        for there in doors[room]:
            if there not in came:
                came[there] = room
                waiting.append(there)
    walk = [start]
    while walk[-1] != goal:
        walk.append(came[walk[-1]])
    return walk


def written(walk: Sequence[Room]) -> str:
    """A walk as a response has it."""
    return "".join(f" {room:02}" for room in walk)
