"""The authors' published tables, ``results/*.csv`` of github.com/LCS2-IIITD/KD_generalization.

Accuracies are there for every temperature. Agreement and fidelity are of one checkpoint a pair, by
arithmetic the reverse KL one; like the authors we set them beside all methods and temperatures of
the pair. Students of untuned teachers are left out, as in the authors' mathematics notebook.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from pathlib import Path
from statistics import fmean

from distillkit.core.errors import DataError
from distillkit.evaluation.fidelity_study.results import Result

METHODS = {"KD": "forward_kl", "RevKD": "reverse_kl", "GKD": "gkd"}
"""Our names of the authors' methods. Their code of "SeqKD" is token-level forward KL."""

DISTILLED = re.compile(rf"student_({'|'.join(METHODS)})_temp_(\d+(?:\.\d+)?)")
SIZE = re.compile(r"-(\d+(?:\.\d+)?)B$")
CHECKPOINT = re.compile(r"_ckpt\d+$")
EXTRA = "cells beyond the header"
AVERAGE = "Average"
NOT_TASKS = {"Teacher", "Student", "Method", AVERAGE, EXTRA}
SEED = 6
"""The authors' only one."""


class Likeness(StrEnum):
    """Which table of rationales is the fidelity."""

    embedding = "embedding"
    """BLEU.csv, which the authors test; by its numbers most likely a cosine of embeddings."""
    bleu = "bleu"
    """BLEU2.csv, by its numbers the real BLEU."""


FIDELITY = {Likeness.embedding: "BLEU.csv", Likeness.bleu: "BLEU2.csv"}


@dataclass(frozen=True, slots=True)
class Domain:
    """A set of tasks and its files."""

    name: str
    """Of the domain."""
    accuracy: tuple[str, ...]
    """Files of accuracies."""
    agreement: str
    """File of the shares of answers that are the teacher's."""
    fidelity: bool
    """Whether rationales were compared."""

    @property
    def average(self) -> str:
        """Name of the mean over its tasks."""
        return f"{self.name} average"


DOMAINS = (
    Domain("math", ("math_results_main.csv", "llama_math_results.csv"), "EM1.csv", True),
    Domain("commonsense", ("cs_results_main.csv", "llama_cs_results.csv"), "EM1_cs.csv", False),
)


def published(folder: Path, *, likeness: Likeness = Likeness.embedding) -> list[Result]:
    """Every published result; averages over a domain's tasks are tasks of their own.

    Accuracies of averages are the authors' column, which their tests use.

    Raises:
        DataError: the folder or a file of it is missing or malformed.
    """
    if not folder.is_dir():
        raise DataError(
            f"--results {folder} is not a folder. Give the one with the csv files of "
            "github.com/LCS2-IIITD/KD_generalization/results."
        )
    return [result for domain in DOMAINS for result in _domain(folder, domain, likeness)]


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a file, and the file for what is said of it."""

    file: Path
    cells: Mapping[str, str | None]

    def text(self, column: str) -> str:
        cell = self.cells.get(column)
        if not cell:
            raise DataError(f"{self.file} has a row without {column}: {_shown(self.cells)}")
        return cell

    def number(self, column: str) -> float:
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not isfinite(value):
            raise DataError(
                f"{self.file} has {column} {text!r}, which is not a number: {_shown(self.cells)}"
            )
        return value

    def mean(self, columns: Sequence[str]) -> float:
        return fmean(self.number(column) for column in columns)

    @property
    def teacher(self) -> str:
        return CHECKPOINT.sub("", self.text("Teacher"))

    @property
    def student(self) -> str:
        return self.text("Student")

    @property
    def size(self) -> float:
        match = SIZE.search(self.student)
        if not match:
            raise DataError(
                f"{self.file} has a student {self.student!r}, whose name states no size as in -7B"
            )
        return float(match[1])


def _domain(folder: Path, domain: Domain, likeness: Likeness) -> list[Result]:
    lines = [line for name in domain.accuracy for line in _read(folder / name)]
    tuned = _only(line for line in lines if line.text("Method") == "SFT")
    agreement = _by_pair(folder / domain.agreement)
    fidelity = _by_pair(folder / FIDELITY[likeness]) if domain.fidelity else None
    found = []
    for line in lines:
        match = DISTILLED.fullmatch(line.text("Method"))
        if not match:
            continue
        pair = (line.teacher, line.student)
        for name in pair:
            if ("-", name) not in tuned:
                raise DataError(f"{line.file} has {name} in a pair, but no SFT row of it")
        for file, rows in ((domain.agreement, agreement), (FIDELITY[likeness], fidelity)):
            if rows is not None and pair not in rows:
                raise DataError(f"{folder / file} has no KD row of {pair[0]} to {pair[1]}")
        tasks = [column for column in line.cells if column not in NOT_TASKS]
        for task, column, parts in (
            *((task, task, [task]) for task in tasks),
            (domain.average, AVERAGE, tasks),
        ):
            found.append(
                Result(
                    teacher=line.teacher,
                    student=line.student,
                    method=METHODS[match[1]],
                    tau=float(match[2]),
                    seed=SEED,
                    task=task,
                    accuracy=line.number(column),
                    sft_accuracy=tuned["-", line.student].number(column),
                    agreement=agreement[pair].mean(parts),
                    fidelity=fidelity[pair].mean(parts) if fidelity else None,
                    teacher_accuracy=tuned["-", line.teacher].number(column),
                    student_size=line.size,
                )
            )
    if not found:
        raise DataError(f"{folder / domain.accuracy[0]} has no row of a distilled student")
    return found


def _by_pair(file: Path) -> dict[tuple[str, str], _Line]:
    """The distilled student of each (teacher, student)."""
    return _only(line for line in _read(file) if line.text("Method") == "KD")


def _only(lines: Iterable[_Line]) -> dict[tuple[str, str], _Line]:
    """By teacher, which is - for a model on its own, and student."""
    found: dict[tuple[str, str], _Line] = {}
    for line in lines:
        key = (line.teacher, line.student)
        if key in found:
            raise DataError(f"{line.file} has a second row of what is known: {_shown(line.cells)}")
        found[key] = line
    return found


def _read(file: Path) -> list[_Line]:
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = csv.DictReader(stream, restkey=EXTRA, strict=True)
            return [_Line(file, row) for row in rows]
    except FileNotFoundError:
        raise DataError(
            f"--results {file.parent} has no {file.name}. Give the folder with the csv files of "
            "github.com/LCS2-IIITD/KD_generalization/results."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as csv: {error}") from error


def _shown(cells: Mapping[str, str | None]) -> str:
    return ", ".join(str(cell) for cell in list(cells.values())[:3])
