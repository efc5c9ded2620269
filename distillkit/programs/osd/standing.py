"""Where a stream stands: all that it goes on from, checked whole before anything is written.

What waits in a buffer is in no checkpoint. It is a function of the requests and of the draft as it
is, so those requests are served once more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distillkit.core.journal import kept_part
from distillkit.core.reading import damaged, parse_json_lines
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.training.checkpoint import Progress, check_checkpoint, newest_checkpoint, step_of

REQUESTS, UPDATES, PROBES, TIMING, METRICS = JOURNALS = (
    "requests.jsonl",
    "updates.jsonl",
    "probes.jsonl",
    "timing.jsonl",
    "metrics.jsonl",
)

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a stream goes on from.

    Attributes:
        progress: where it stands; its steps are requests.
        checkpoints: of each draft; None before the first.
        rows: of each journal, up to there.
    """

    progress: Progress
    checkpoints: Mapping[str, Path] | None = None
    rows: Mapping[str, Rows] = field(default_factory=lambda: {name: [] for name in JOURNALS})

    def versions(self, draft: str) -> int:
        """How often a draft has learned."""
        return sum(row["draft"] == draft for row in self.rows[UPDATES])

    def learned(self, draft: str) -> int:
        """Requests that had been served when it last did."""
        return max(
            (row["request"] for row in self.rows[UPDATES] if row["draft"] == draft), default=0
        )


def where_it_stands(
    directory: RunDirectory, drafts: Sequence[str], *, fingerprint: str
) -> Standing:
    """The newest checkpoint that all drafts have, compared with its record, and the journals.

    Raises:
        RunError: something is missing, new, another run's, or has changed since it was written.
    """
    newest = [newest_checkpoint(directory.checkpoints / draft) for draft in drafts]
    found = [path for path in newest if path is not None]
    if len(found) < len(drafts):
        return Standing(Progress(fingerprint=fingerprint))
    step = min(found, key=step_of).name
    paths = {draft: directory.checkpoints / draft / step for draft in drafts}
    for path in paths.values():
        progress = check_checkpoint(path, fingerprint=fingerprint, old=False)
    rows = {name: _kept(directory.path / name, progress, name) for name in JOURNALS}
    return Standing(replace(progress, fingerprint=fingerprint), paths, rows)


def _kept(file: Path, progress: Progress, name: str) -> Rows:
    part = kept_part(
        file,
        progress.journals.get(name, 0),
        digest=progress.digests.get(name),
        way_out=WAY_OUT,
    )
    rows: Rows = parse_json_lines(part, dict[str, Any], file=file, way_out=WAY_OUT)
    place = "step" if name == METRICS else "request"
    if any(place not in row for row in rows):
        raise damaged(file, f"a line names no {place}", way_out=WAY_OUT)
    return rows
