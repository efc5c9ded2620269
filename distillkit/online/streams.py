"""Streams: which domain each request comes from, one after another."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING
from typing_extensions import TypedDict

from distillkit.core.bounds import MANY, POSITIVE, check_bound, check_range
from distillkit.core.errors import ConfigError, DataError
from distillkit.core.reading import read_json_lines
from distillkit.core.seeds import child_random
from distillkit.core.spec import spec

WAY_OUT = 'Write a line such as {"domain": "market"} for every request.'


class Line(TypedDict):
    """A line of a file of requests; other fields may be there."""

    domain: str


@dataclass(kw_only=True, slots=True)
class Stream(ABC):
    """The order in which domains are asked about."""

    @abstractmethod
    def domains(self, known: Sequence[str], *, seed: int) -> list[str]:
        """The domain of every request.

        Args:
            known: the domains, in the order in which they were given.
            seed: root seed of the run.

        Raises:
            ConfigError: these domains make no such stream.
            DataError: a file names another one.
        """


@dataclass(kw_only=True, slots=True)
class Counted(Stream):
    """A stream of so many requests."""

    requests: int = 2000
    """All of them; of each domain for ``sharp_shift``."""

    def __post_init__(self) -> None:
        check_range(self, "stream.", POSITIVE, "requests")
        check_bound("stream.requests", self.requests, MANY)


@spec("stream/single")
class Single(Counted):
    """One domain alone."""

    def domains(self, known: Sequence[str], *, seed: int) -> list[str]:
        if len(known) != 1:
            raise ConfigError(
                f"stream=single asks about one domain, and there are {len(known)} "
                f"({', '.join(known)}). Use domains=single, or another stream."
            )
        return [known[0]] * self.requests


@spec("stream/sharp_shift")
class SharpShift(Counted):
    """One domain after another."""

    def domains(self, known: Sequence[str], *, seed: int) -> list[str]:
        return [domain for domain in known for _ in range(self.requests)]


@spec("stream/smooth_shift")
class SmoothShift(Counted):
    """One domain after another, each fading into the next in a straight line."""

    def domains(self, known: Sequence[str], *, seed: int) -> list[str]:
        coin = child_random(seed, "stream")
        order = []
        for request in range(self.requests):
            place = request / max(1, self.requests - 1) * (len(known) - 1)
            now = min(int(place), len(known) - 1)
            after = min(now + 1, len(known) - 1)
            order.append(known[after if coin.random() < place - now else now])
        return order


@spec("stream/mixed")
class Mixed(Counted):
    """All domains at once, in the same shares from beginning to end."""

    shares: list[float] | None = None
    """Of each domain, in their order; equal if null."""

    def domains(self, known: Sequence[str], *, seed: int) -> list[str]:
        shares = self.shares or [1.0] * len(known)
        if len(shares) != len(known) or min(shares) < 0 or sum(shares) <= 0:
            raise ConfigError(
                f"stream.shares={list(shares)} must give each of {len(known)} domains "
                f"({', '.join(known)}) a share of at least 0. Leave it null for equal ones."
            )
        return child_random(seed, "stream").choices(known, shares, k=self.requests)


@spec("stream/file")
class FromFile(Stream):
    """The order of a file, such as that of a log of one's own service."""

    path: str = MISSING
    """JSON lines; each request's ``domain``."""

    def domains(self, known: Sequence[str], *, seed: int) -> list[str]:
        order = [row["domain"] for row in read_json_lines(Path(self.path), Line, way_out=WAY_OUT)]
        if strange := next((domain for domain in order if domain not in known), None):
            raise DataError(
                f"stream.path={self.path} asks about {strange!r}, and the domains are "
                f"{', '.join(known)}. Add it with +dataset@domain.{strange}=..., or leave it out."
            )
        if not order:
            raise DataError(f"stream.path={self.path} holds no request. {WAY_OUT}")
        return order
