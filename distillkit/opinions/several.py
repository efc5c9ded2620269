"""Several teachers: who reads which example, or how much of each is heard at every position.

Routing is how Kimi K3 and NeMo RL learn from many teachers: an example names the one it is learned
from. A mixture is an ensemble's distribution, which all of them make together.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from distillkit.core.errors import ConfigError, DataError, DistillkitError
from distillkit.core.spec import name_of, spec
from distillkit.core.types import Author, Example
from distillkit.models.pretrained import Readable, Teacher
from distillkit.opinions.base import Asked, OnlyReads, Reader
from distillkit.supports.base import Support
from distillkit.supports.full import Full
from distillkit.supports.top_k import StudentTopK

if TYPE_CHECKING:  # it loads transformers, and this module is loaded for every composing
    from distillkit.models.language_model import LanguageModel

ROUTED = "teacher.route.field=domain"
WEIGHED = "+teacher.weights.<member>=0.5"


@dataclass(kw_only=True, slots=True)
class Route:
    """Which member reads an example."""

    members: dict[str, str] = field(default_factory=dict)
    """Members by the values of the field, where a value is not a member's name itself."""
    field: str | None = None
    """Tag of the examples whose value names the member that reads them: ``domain`` in the embedded
    world, ``part`` of mixed datasets, those of ``dataset.tags``. Null where weights are given."""


@spec("teacher/several")
class Several(OnlyReads):
    """Members that each read their own examples, or all of them together."""

    members: dict[str, Readable] = field(default_factory=dict)
    """The teachers by names of their own, as in ``+teacher@teacher.members.market=hf``."""
    route: Route = field(default_factory=Route)
    """Who reads an example, where each is read by one."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weight of each member in a mixture of their probabilities, in proportion; empty where
    examples are routed."""

    def __post_init__(self) -> None:
        if not self.members:
            raise ConfigError(
                "teacher=several has no members. Name some, as in +teacher@teacher.members.market="
                "hf teacher.members.market.name=..."
            )
        for name, member in self.members.items():
            _check_member(name, member)
        if (self.route.field is None) != bool(self.weights):
            both = "neither" if self.route.field is None else "both"
            raise ConfigError(
                f"teacher=several takes a route or weights, and {both} of them is given: set "
                f"{ROUTED} to have each example read by one member, or {WEIGHED} for each member "
                "to mix them."
            )
        self._check_route()
        self._check_weights()

    def gives(self) -> Sequence[Support]:
        told = {name: told_by(name, member) for name, member in self.members.items()}
        sparse = [name for name in told if not any(each.dense for each in told[name])]
        if not sparse:
            return [Full()]
        if self.weights:
            raise ConfigError(
                f"teacher.weights mixes whole distributions, and teacher.members.{sparse[0]} tells "
                "a few entries of each. Choose local models, or route examples with "
                "teacher.route.field."
            )
        common = list[Support]()
        for each in chain(*told.values()):
            # What is left of a model's whole distribution is chosen without the student.
            cut = len(sparse) < len(told) and isinstance(each, StudentTopK)
            if all(any(map(each.within, one)) for one in told.values()) and not cut:
                common += [each] * (each not in common)
        if not common:
            listed = ", ".join(
                f"{name} {' or '.join(map(name_of, one))}" for name, one in told.items()
            )
            raise ConfigError(
                f"the members of teacher=several tell nothing in common: {listed}. Choose members "
                "that tell the same support."
            )
        return common

    def tells_drawn(self) -> bool:
        return all(
            member.tells_drawn()
            for member in self.members.values()
            if isinstance(member, OnlyReads)
        )

    def check_authors(self, authors: frozenset[Author]) -> None:
        for name, member in self.members.items():
            if isinstance(member, OnlyReads):
                with naming(name):
                    member.check_authors(authors)

    def check_asked(self, examples: Sequence[Example]) -> None:
        groups = dict[str, list[Example]]()
        for example in examples:
            for name in self.readers_of(example):
                groups.setdefault(name, []).append(example)
        for name, group in groups.items():
            if isinstance(member := self.members[name], OnlyReads):
                with naming(name):
                    member.check_asked(group)

    def open(self, student: "LanguageModel", asked: Asked) -> Reader:
        from distillkit.opinions.members import open_members  # it loads transformers

        return open_members(self, student, asked)

    def readers_of(self, example: Example) -> Sequence[str]:
        """Names of the members that read an example.

        Raises:
            DataError: it names none.
        """
        wanted = self.route.field
        if wanted is None:
            return list(self.members)
        value = example.tag(wanted)
        if value is None:
            there = ", ".join(name for name, _ in example.tags) or "none at all"
            raise DataError(
                f"teacher.route.field={wanted} names who reads an example, and {example.id} has no "
                f"such field: its fields are {there}. Choose one of these, name fields of rows "
                "with dataset.tags=[...], or use dataset=mixed and teacher.route.field=part."
            )
        name = self.route.members.get(value, value)
        if name not in self.members:
            raise DataError(
                f"{example.id} has {wanted}={value}, and teacher.members are "
                f"{', '.join(self.members)}. Add the member, or say who reads it with "
                f"+teacher.route.members.{value}=..."
            )
        return [name]

    def _check_route(self) -> None:
        if self.route.members and self.route.field is None:
            raise ConfigError(
                "teacher.route.members has no effect without a field whose values it names. Set "
                f"{ROUTED}."
            )
        for value, name in self.route.members.items():
            if name not in self.members:
                raise ConfigError(
                    f"teacher.route.members.{value}={name} is no member. Choose from "
                    f"{', '.join(self.members)}."
                )

    def _check_weights(self) -> None:
        if self.weights and self.weights.keys() != self.members.keys():
            raise ConfigError(
                f"teacher.weights names {', '.join(self.weights)}, and the members are "
                f"{', '.join(self.members)}. Give each member a weight, and nobody else."
            )
        for name, weight in self.weights.items():
            if weight <= 0:
                raise ConfigError(
                    f"teacher.weights.{name}={weight} must be above 0. Leave the member out "
                    "instead."
                )


def told_by(name: str, member: Readable) -> Sequence[Support]:
    """The densest supports that a member tells: of a model of this process, every entry."""
    with naming(name):
        return member.gives() if isinstance(member, OnlyReads) else [Full()]


@contextmanager
def naming(member: str) -> Iterator[None]:
    """Errors about a teacher name a member's field, as it is typed."""
    try:
        yield
    except DistillkitError as error:
        message = re.sub(r"(?<![\w:/])teacher\.(?=[a-z])", f"teacher.members.{member}.", str(error))
        raise type(error)(message) from error


def _check_member(name: str, member: Readable) -> None:
    place = f"teacher.members.{name}"
    if isinstance(member, Several) or not isinstance(member, Teacher | OnlyReads):
        raise ConfigError(
            f"{place}={name_of(member)} cannot be one of several teachers. Choose a model, as "
            f"in +teacher@{place}=hf, or a teacher that is served or cached."
        )
    if isinstance(member, Teacher) and member.draft is not None:
        raise ConfigError(
            f"{place}.draft={member.draft} has no effect: of several teachers none writes. "
            "Remove it."
        )
