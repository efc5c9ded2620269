"""The rule-based teacher of the embedded arithmetic world.

It reads the evidence that any teacher is given. Where the student's first wrong line is a false
equation, it spells out that operation; where the set-up is wrong, it puts the plan in front. It
never takes back what an earlier lesson spelled out. Without evidence it cannot know what is
lacking, so it adds one detail at random.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import combinations
from json import dumps, loads

from distillkit.core.errors import ConfigError
from distillkit.core.keeper import Keeper
from distillkit.core.seeds import child_random
from distillkit.core.spec import spec
from distillkit.core.store import key_of
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.base import Dataset
from distillkit.datasets.equations import false_equations
from distillkit.datasets.rationale import SIGN, Detail, Step, possible, write_rationale
from distillkit.endpoints.replies import Reply
from distillkit.lessons.base import Request, WritingTeacher
from distillkit.models.pretrained import AnyTeacher

LAYOUT = 1
"""Part of every key; raised whenever the same request gets another text."""

REMEDIES = {sign: Detail(operation) for operation, sign in SIGN.items()}


@spec("teacher/tutor")
class Tutor(AnyTeacher):
    """Rules instead of a model; for ``dataset=arithmetic`` and its domains alone."""

    seed: int = 0
    """Of what it adds when it is shown no error."""


class RuleTutor(WritingTeacher):
    """The tutor at work in one world.

    Args:
        settings: of the tutor.
        dataset: the world whose questions it explains.

    Raises:
        ConfigError: the dataset is another one.
    """

    def __init__(self, settings: Tutor, dataset: Dataset) -> None:
        if not isinstance(dataset, Arithmetic):
            raise ConfigError(
                "teacher=tutor knows only the embedded world. Use dataset=arithmetic, or a model: "
                "teacher=hf or teacher=endpoint."
            )
        self._seed, self._world = settings.seed, dataset

    @property
    def name(self) -> str:
        return "tutor"

    def write(self, requests: Sequence[Request], *, keeper: Keeper) -> list[Reply]:
        # Everything a text depends on: what is asked, and the operations behind the question.
        keys = [
            key_of("tutor", LAYOUT, self._seed, asdict(request), asdict(self._world))
            for request in requests
        ]
        kept = keeper.get(
            "lessons",
            keys,
            lengths=[0] * len(keys),
            make=lambda part: [dumps(self._lesson(requests[row])).encode() for row in part],
        )
        return [Reply(loads(text), None, None, "stop") for text in kept]

    def _lesson(self, request: Request) -> str:
        steps = self._world.steps(request.example)
        if not request.lessons:
            return write_rationale(steps)
        told = details_of(steps, request.lessons[-1])
        if request.evidence or request.answer is not None:
            return write_rationale(steps, told | self._needed(request))
        return write_rationale(steps, told | self._guessed(steps, told, request))

    def _needed(self, request: Request) -> set[Detail]:
        """What the student's errors ask for."""
        wrong = [
            (record.lesson, record.answer) for record in request.evidence if not record.correct
        ]
        if request.answer is not None and not request.correct:
            wrong.append((request.example.reference, request.answer))
        return {remedy for _, answer in wrong if (remedy := self._remedy(answer)) is not None}

    def _remedy(self, answer: str) -> Detail | None:
        """Against the first thing that went wrong: what follows only stands on it."""
        sign = _first_failure(answer)
        if sign is not None:
            return REMEDIES.get(sign)
        return None if self._world.extract(answer) is None else Detail.plan

    def _guessed(
        self, steps: tuple[Step, ...], told: Collection[Detail], request: Request
    ) -> set[Detail]:
        """One more detail, or as many as make the lesson as long as is asked."""
        draw = child_random(
            self._seed, "tutor", request.example.id, len(request.lessons), request.attempt
        )
        left = [detail for detail in possible(steps) if detail not in told]
        draw.shuffle(left)
        if request.words is None:
            return set(left[:1])
        added: set[Detail] = set()
        while left and len(write_rationale(steps, {*told, *added}).split()) < request.words:
            added.add(left.pop())
        return added


@lru_cache(maxsize=1 << 14)
def _first_failure(answer: str) -> str | None:
    """Sign of the first false equation; the same few answers are shown with many questions."""
    false = false_equations(answer)
    return false[0].operators[-1] if false else None


def details_of(steps: tuple[Step, ...], lesson: str) -> set[Detail]:
    """What a lesson for these operations spells out; nothing where the tutor did not write it."""
    choices = possible(steps)
    for count in range(len(choices) + 1):
        for details in combinations(choices, count):
            if write_rationale(steps, details) == lesson:
                return set(details)
    return set()
