"""Where numbers go besides metrics.jsonl: Weights & Biases, or nowhere.

The only module that imports wandb, and only inside methods.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distillkit.core.spec import spec

Sample = Mapping[str, str | int | bool]


@dataclass(kw_only=True, slots=True)
class Tracker(ABC):
    """Receives the numbers of a run while it goes on."""

    @abstractmethod
    def mode(self) -> str:
        """``online``, ``offline``, or what else will become of the numbers."""

    @abstractmethod
    def start(self, *, folder: Path, name: str, identity: str, config: Mapping[str, Any]) -> None:
        """Open the run, or go on with the one of the same identity."""

    @abstractmethod
    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Numbers of one step."""

    @abstractmethod
    def samples(self, rows: Sequence[Sample], *, step: int) -> None:
        """Completions to read."""

    @abstractmethod
    def finish(self, summary: Mapping[str, float], *, failed: bool) -> None:
        """Close the run with its final numbers."""


@spec("tracker/none")
class NoTracker(Tracker):
    """metrics.jsonl and samples.jsonl alone."""

    def mode(self) -> str:
        return "none, metrics.jsonl and samples.jsonl alone"

    def start(self, *, folder: Path, name: str, identity: str, config: Mapping[str, Any]) -> None:
        pass

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        pass

    def samples(self, rows: Sequence[Sample], *, step: int) -> None:
        pass

    def finish(self, summary: Mapping[str, float], *, failed: bool) -> None:
        pass


@spec("tracker/wandb")
class WeightsAndBiases(Tracker):
    """One W&B run for each run directory: online when logged in, else offline."""

    project: str = "distillkit"
    """W&B project."""
    entity: str | None = None
    """W&B team or user; the login's own if null."""
    group: str | None = None
    """Gathers runs; the cells of a sweep share one."""
    tags: list[str] = field(default_factory=list)
    """W&B tags."""

    def mode(self) -> str:
        import wandb

        logging.getLogger("wandb").setLevel(logging.ERROR)
        asked = os.environ.get("WANDB_MODE")
        logged_in = wandb.setup().settings.api_key or os.environ.get("WANDB_API_KEY")
        return asked or ("online" if logged_in else "offline")

    def start(self, *, folder: Path, name: str, identity: str, config: Mapping[str, Any]) -> None:
        import wandb

        wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            tags=self.tags,
            dir=str(folder),
            name=name,
            id=identity,
            resume="allow",
            config=dict(config),
            settings=wandb.Settings(
                mode=self.mode(),
                silent=True,
                disable_git=True,
                console="off",
            ),
        )

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        import wandb

        wandb.log(dict(metrics), step=step)

    def samples(self, rows: Sequence[Sample], *, step: int) -> None:
        import wandb

        columns = list(rows[0])
        data = [[row[column] for column in columns] for row in rows]
        wandb.log({"samples": wandb.Table(columns=columns, data=data)}, step=step)

    def finish(self, summary: Mapping[str, float], *, failed: bool) -> None:
        import wandb

        assert wandb.run is not None
        wandb.run.summary.update(dict(summary))
        wandb.finish(exit_code=int(failed))
