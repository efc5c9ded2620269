"""Where numbers go besides metrics.jsonl: to a service that watches, or nowhere."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillkit.core.spec import spec

Sample = Mapping[str, str | int | bool]


class Tracked:
    """Receives the numbers of one run while it goes on; this one keeps none."""

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Numbers of one step."""

    def samples(self, rows: Sequence[Sample], *, step: int) -> None:
        """Completions to read."""

    def again(self, metrics: Sequence[Mapping[str, Any]], samples: Sequence[Sample]) -> None:
        """The rows of both journals so far, for what has not heard of them before."""

    def finish(self, summary: Mapping[str, float], *, failed: bool) -> None:
        """Close the run with its final numbers."""


@dataclass(kw_only=True, slots=True)
class Tracker(ABC):
    """Opens what watches a run."""

    @abstractmethod
    def mode(self) -> str:
        """``online``, ``offline``, or what else will become of the numbers.

        Raises:
            ConfigError: the environment asks for something that there is not.
        """

    @abstractmethod
    def start(
        self,
        *,
        folder: Path,
        name: str,
        identity: str,
        config: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> Tracked:
        """Open the run, or go on with the one of the same identity; ``say`` takes notes."""


@spec("tracker/none")
class NoTracker(Tracker):
    """metrics.jsonl and samples.jsonl alone."""

    def mode(self) -> str:
        return "none, metrics.jsonl and samples.jsonl alone"

    def start(
        self,
        *,
        folder: Path,
        name: str,
        identity: str,
        config: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> Tracked:
        return Tracked()
