"""Runs, sweeps and studies as they lie on disk, read into what the report needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict

from distillkit.core.cells import cells_of
from distillkit.core.errors import RunError
from distillkit.core.reading import damaged, read_json_lines, read_yaml
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import AnySummary
from distillkit.report.evaluations import Evaluation, from_summary, read_evaluation
from distillkit.report.settings import LEFT_OUT, key_of, settings_of
from distillkit.report.studies import StudyPage, is_study, read_study

METRICS = "metrics.jsonl"


class Settings(TypedDict):
    """run.yaml, as far as a report knows its fields."""

    seed: NotRequired[int | None]


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not there, as a sentence, and the command that makes it."""

    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory."""

    name: str
    """Of the directory, unique in a report."""
    path: str
    """As a command would take it, never absolute."""
    seed: int | None
    """Root of its random draws, None where run.yaml does not say."""
    summary: Mapping[str, Any]
    """Closing numbers; empty while the run is not finished."""
    config: Mapping[str, str]
    """Settings by dotted key, with the names of chosen components."""
    provenance: Mapping[str, Any]
    """Versions and commit, without the diff."""
    journal: Sequence[Mapping[str, Any]]
    """Rows of metrics.jsonl."""
    evaluation: Evaluation | None
    """Numbers on the split asked for."""
    missing: tuple[Missing, ...]
    """What is not there."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """All runs and studies of a report, and what could not be among them."""

    runs: tuple[Run, ...]
    notes: tuple[Missing, ...]
    studies: tuple[StudyPage, ...] = ()


def gather(paths: Sequence[Path], *, split: str) -> Gathered:
    """Read run directories, sweep folders and studies' folders, each once.

    Raises:
        RunError: a path is none of them, nothing is left to report, or a file is damaged.
    """
    folders: dict[Path, None] = {}
    studies: dict[Path, StudyPage] = {}
    notes: list[Missing] = []
    for path in paths:
        if study := is_study(path):
            studies[path.resolve()] = read_study(path)
        if (path / "table.json").is_file():
            found, absent = _cells(path)
            folders |= dict.fromkeys(found)
            notes += absent
        elif (path / "run.yaml").is_file() and not study:
            folders[path.resolve()] = None
        elif not study:
            raise RunError(
                f"{path} is neither a run directory (with run.yaml) nor a sweep folder (with "
                "table.json). Give some of outputs/train/<name>, outputs/sweep/<hash> or "
                "outputs/study/<verb>/<name>."
            )
    if not folders and not studies:
        raise RunError("no run to report: every cell of the sweep failed. Run the sweep again.")
    runs = [read_run(folder, split=split) for folder in folders]
    return Gathered(tuple(_distinct(runs)), tuple(notes), tuple(studies.values()))


def read_run(folder: Path, *, split: str) -> Run:
    """One run directory, as far as it goes.

    Raises:
        RunError: a file is damaged.
    """
    directory = RunDirectory(folder, shape=AnySummary)
    directory.check_made()
    config = read_yaml(folder / "run.yaml", Settings, way_out=WAY_OUT)
    if "proposals" in config:
        raise RunError(
            f"{folder} is a run of osd or serve; a report compares trainings. Leave it out."
        )
    summary = directory.summary or {}
    directory.check_left(METRICS)
    provenance = directory.record or {}
    git = {"commit": (provenance.get("git") or {}).get("commit")}
    evaluation = read_evaluation(folder, split)
    path = _shown(folder)
    remedy = f"distillkit eval run={path}" + ("" if split == "test" else f" split={split}")
    missing = []
    if not summary:
        missing.append(Missing(f"{folder.name} is not finished; give its train command again."))
    if evaluation is None:
        if summary.get("split") == split:
            evaluation = from_summary(summary)
        missing.append(Missing(f"{folder.name} has no evaluation on the {split} split.", remedy))
    elif not evaluation.records:
        missing.append(Missing(f"The evaluation of {folder.name} has no records.", remedy))
    # A report may be shown to others, and so knows no place of this machine.
    missing += [Missing(f"{note}.".replace(str(folder), folder.name)) for note in directory.notes]
    typed = folder / "overrides.yaml"
    overrides = read_yaml(typed, list[str], way_out=WAY_OUT) if typed.exists() else []
    return Run(
        name=folder.name,
        path=path,
        seed=config.get("seed"),
        summary={key: summary[key] for key in summary if key != "files"},
        config=settings_of(config, overrides),
        provenance={**{key: provenance[key] for key in provenance if key != "files"}, "git": git},
        journal=_journal(folder),
        evaluation=evaluation,
        missing=tuple(missing),
    )


def _cells(folder: Path) -> tuple[list[Path], list[Missing]]:
    found, absent = [], []
    for cell, run in cells_of(folder):
        if run is not None:
            found.append(run.resolve())
        else:
            named = [item for item in cell.get("overrides", ()) if key_of(item) not in LEFT_OUT]
            told = f"The cell {' '.join(named)} left no run ({cell.get('status', 'unknown')})."
            absent.append(Missing(told, "distillkit sweep ... runs it again, and no finished one."))
    return found, absent


def _journal(folder: Path) -> tuple[dict[str, float], ...]:
    file = folder / METRICS
    if not file.exists():
        return ()
    rows = read_json_lines(file, dict[str, float], way_out=WAY_OUT)
    if any("step" not in row for row in rows):
        raise damaged(file, "a line has no step", way_out=WAY_OUT)
    return tuple(rows)


def _shown(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else Path("…", folder.name))


def _distinct(runs: Sequence[Run]) -> Iterator[Run]:
    seen: dict[str, int] = {}
    for run in runs:
        seen[run.name] = seen.get(run.name, 0) + 1
        again = seen[run.name]
        yield run if again == 1 else replace(run, name=f"{run.name} ({again})")
