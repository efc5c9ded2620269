"""Weights & Biases: it watches a run, and never ends one.

The only module that imports wandb, and only inside functions. Whatever fails in it is said once;
metrics.jsonl has all numbers without it.
"""

import logging
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import groupby
from pathlib import Path
from typing import Any

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.training.tracker import Sample, Tracked, Tracker

MODES = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "shared": "shared",
    "disabled": "disabled",
}
"""Values of WANDB_MODE, and what each comes to."""

REACH, START, FINISH = 5.0, 20.0, 120.0
"""Seconds to find W&B's server, to have it open a run, and to send what is left at the end."""

WORDS = 200
"""Letters of what W&B says that are passed on."""


@spec("tracker/wandb")
class WeightsAndBiases(Tracker):
    """One W&B run for each run directory: online when logged in and in reach, else offline."""

    project: str = "distillkit"
    """W&B project."""
    entity: str | None = None
    """W&B team or user; the login's own if null."""
    group: str | None = None
    """Gathers runs; the cells of a sweep share one."""
    tags: list[str] = field(default_factory=list)
    """W&B tags."""

    def mode(self) -> str:
        asked = os.environ.get("WANDB_MODE")
        if asked is not None and asked not in MODES:
            raise ConfigError(
                f"WANDB_MODE={asked!r} in the environment is none of "
                f"{', '.join(MODES)}. Set one of these, or tracker=none for no W&B at all."
            )
        if asked == "disabled":
            return asked
        logged_in = _settings().api_key or os.environ.get("WANDB_API_KEY")
        return MODES[asked or ("online" if logged_in else "offline")]

    def start(
        self,
        *,
        folder: Path,
        name: str,
        identity: str,
        config: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> Tracked:
        mode = self.mode()
        if mode == "disabled":
            return Tracked()
        if mode != "offline" and not _in_reach(url := str(_settings().base_url)):
            say(f"note: W&B is out of reach at {url}. {OFFLINE}")
            mode = "offline"
        # A second try, since the process that W&B left from an earlier run may be dead.
        for tried, then in ((mode, OFFLINE), ("offline", ALONE)):
            try:
                return WatchedRun(self._open(folder, name, identity, config, tried), say)
            except Exception as error:
                _tear_down()
                if then == ALONE or tried != "offline":
                    say(f"note: W&B did not start {tried} ({_words(error)}). {then}")
        return Tracked()

    def _open(
        self, folder: Path, name: str, identity: str, config: Mapping[str, Any], mode: str
    ) -> Any:
        import wandb

        # Not every version of wandb has it.
        known = "finish_timeout" in wandb.Settings.model_fields
        return wandb.init(
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
                mode=mode,
                silent=True,
                disable_git=True,
                console="off",
                init_timeout=START,
                **({"finish_timeout": FINISH} if known else {}),
            ),
        )


OFFLINE = "The run is kept offline in its run directory; wandb sync sends it."
ALONE = "The numbers are in metrics.jsonl alone."


@dataclass(slots=True)
class WatchedRun(Tracked):
    """An open W&B run; the first failure closes it for good."""

    run: Any
    """Of wandb; None once it has failed."""
    say: Callable[[str], None]
    """Takes the note of a failure."""

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        self._try(lambda run: run.log(dict(metrics), step=step))

    def samples(self, rows: Sequence[Sample], *, step: int) -> None:
        import wandb

        columns = list(rows[0])
        data = [[row[column] for column in columns] for row in rows]
        self._try(
            lambda run: run.log({"samples": wandb.Table(columns=columns, data=data)}, step=step)
        )

    def again(self, metrics: Sequence[Mapping[str, Any]], samples: Sequence[Sample]) -> None:
        # What is online knows of the steps before; an offline run begins anew in each process.
        first = self.run.step if self.run is not None else 0
        shown = {step: list(rows) for step, rows in groupby(samples, _step)}
        for step, rows in groupby(metrics, _step):
            if step < first:
                continue
            for row in rows:
                self.log({key: row[key] for key in row if key != "step"}, step=step)
            if step in shown:
                self.samples(shown[step], step=step)

    def finish(self, summary: Mapping[str, float], *, failed: bool) -> None:
        self._try(lambda run: run.summary.update(dict(summary)))
        self._try(lambda run: run.finish(exit_code=int(failed)))

    def _try(self, call: Callable[[Any], object]) -> None:
        if self.run is None:
            return
        try:
            call(self.run)
        except Exception as error:
            self.run = None
            _tear_down()
            self.say(f"note: W&B has failed ({_words(error)}) and hears no more. {ALONE}")


def _settings() -> Any:
    import wandb

    logging.getLogger("wandb").setLevel(logging.ERROR)
    try:
        return wandb.setup(wandb.Settings(silent=True)).settings
    except Exception as error:
        raise ConfigError(
            f"W&B cannot be set up ({_words(error)}). Mend the WANDB_ variable of the environment "
            "that it names, or set tracker=none."
        ) from error


def _tear_down() -> None:
    """End W&B's process, so that another run can begin and none speaks when ours ends."""
    import wandb

    try:
        wandb.teardown()
    except Exception:
        # It is dead already.
        return


def _in_reach(url: str) -> bool:
    """Whether anything answers there, or at the proxy before it, within a few seconds."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=REACH).close()
        except urllib.error.HTTPError:
            answered.set()
        except urllib.error.URLError as error:
            # A certificate that Python does not know is W&B's to judge.
            if "SSL" in type(error.reason).__name__:
                answered.set()
        except (OSError, HTTPException, ValueError):
            return
        else:
            answered.set()

    # A look-up of the name alone may take longer than any timeout, so nobody waits for it.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(REACH)
    return answered.is_set()


def _step(row: Mapping[str, Any]) -> int:
    return int(row["step"])


def _words(error: Exception) -> str:
    """What an error says, on one line and no longer than is read."""
    return re.sub(r"\s+", " ", str(error)).strip()[:WORDS] or type(error).__name__
