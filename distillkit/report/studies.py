"""A study's folder, read into sections of the page: what was asked, tables, pictures, sentences."""

import csv
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from distillkit.core.reading import damaged, read_bytes, read_text, read_yaml
from distillkit.core.rundir import WAY_OUT, RunDirectory
from distillkit.core.shapes import Shown, ShownPicture, ShownTable, StudySummary
from distillkit.report.settings import ABSENT, LEFT_OUT, key_of, settings_of, without_places

PNG = b"\x89PNG\r\n\x1a\n"
MOST = 200
"""Rows of a table that are shown; its file has all."""

EMPTY: Shown = {"tables": [], "pictures": [], "said": []}


@dataclass(frozen=True, slots=True)
class StudyTable:
    """A csv file as texts."""

    title: str
    file: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int
    """Rows that are not shown."""


@dataclass(frozen=True, slots=True)
class StudyPicture:
    """A PNG."""

    title: str
    file: str
    alt: str
    source: str
    """The picture itself, as a data URI."""


@dataclass(frozen=True, slots=True)
class StudyPage:
    """All of one study."""

    name: str
    study: str
    """Which it is, as its summary says."""
    asked: tuple[str, ...]
    """What was typed, without places."""
    settings: Mapping[str, str]
    """All of them, by dotted key."""
    tables: tuple[StudyTable, ...]
    pictures: tuple[StudyPicture, ...]
    said: tuple[str, ...]
    finished: bool
    provenance: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Which and under which name."""
        return f"Study {self.study} {self.name}"


def is_study(folder: Path) -> bool:
    """Whether a study lives here, finished or not.

    Raises:
        RunError: its record is damaged.
    """
    return "study" in (RunDirectory(folder, shape=StudySummary).record or {})


def read_study(folder: Path) -> StudyPage:
    """One study's folder, as far as it goes.

    Raises:
        RunError: a file is damaged, is missing, or was not left by the study.
    """
    directory = RunDirectory(folder, shape=StudySummary)
    directory.check_made()
    summary, record = directory.summary, directory.record
    assert record is not None
    shown: Shown = (summary or {}).get("shown", EMPTY)
    files = [each["file"] for each in (*shown["tables"], *shown["pictures"])]
    for file in files:
        # The digests are of files; nothing else of this machine belongs on a page.
        if file not in (summary or {}).get("files", {}):
            raise damaged(folder, f"its summary keeps no digest of {file}", way_out=WAY_OUT)
    directory.check_left(*files)
    config = read_yaml(folder / "run.yaml", dict[str, Any], way_out=WAY_OUT)
    typed = read_yaml(folder / "overrides.yaml", list[str], way_out=WAY_OUT)
    kept = {key: record[key] for key in record if key != "files"}
    return StudyPage(
        name=folder.resolve().name,
        study=record["study"],
        asked=tuple(without_places(item) for item in typed if key_of(item) not in LEFT_OUT),
        settings=settings_of(config, ()),
        tables=tuple(_table(folder, each) for each in shown["tables"]),
        pictures=tuple(_picture(folder, each) for each in shown["pictures"]),
        said=tuple(map(without_places, shown["said"])),
        finished=summary is not None,
        provenance={**kept, "git": {"commit": (record.get("git") or {}).get("commit")}},
    )


def _table(folder: Path, shown: ShownTable) -> StudyTable:
    file = folder / shown["file"]
    lines = read_text(file, way_out=WAY_OUT).splitlines()
    columns, *rows = csv.reader(lines) if lines else [[]]
    if any(len(row) != len(columns) for row in rows):
        raise damaged(file, "its rows are not of one length", way_out=WAY_OUT)
    texts = (tuple(map(_text, row)) for row in rows[:MOST])
    left = max(0, len(rows) - MOST)
    return StudyTable(shown["title"], file.name, tuple(columns), tuple(texts), left)


def _picture(folder: Path, shown: ShownPicture) -> StudyPicture:
    file = folder / shown["file"]
    content = read_bytes(file, way_out=WAY_OUT)
    if not content.startswith(PNG):
        raise damaged(file, "it is no PNG", way_out=WAY_OUT)
    source = f"data:image/png;base64,{b64encode(content).decode()}"
    return StudyPicture(shown["title"], file.name, shown["alt"], source)


def _text(cell: str) -> str:
    """Numbers with four digits, as many as a spread over seeds can bear."""
    try:
        number = float(cell)
    except ValueError:
        return without_places(cell) or ABSENT
    return cell if cell.lstrip("-").isdigit() or not isfinite(number) else f"{number:.4g}"
