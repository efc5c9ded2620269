"""The table of runs and numbers: cells as values, not yet as text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from typing import Generic, TypeVar

from distillkit.report.comparing import Difference, PairedRuns, same_seed, value_of
from distillkit.report.evaluations import Value
from distillkit.report.groups import Group
from distillkit.report.runs import Run
from distillkit.statistics import correction

PRIMARY = (("accuracy", "accuracy"), ("rouge", "rouge_l"), ("nll", "nll"))
"""Metrics and numbers that may come first; the first of them that was measured does."""

LEADING = (
    ("agreement", "agreement"),
    ("divergence", "reverse_kl_own"),
    ("precision_recall", "precision"),
    ("precision_recall", "recall"),
    ("calibration", "token_ece"),
    ("diversity", "self_bleu"),
)
"""The others of the main table."""

ACRONYMS = {word: word.upper() for word in ("kl", "ece", "bleu", "rouge", "nll")}

SHARES = (
    *("accuracy", "option_accuracy", "parse_rate", "pass_at", "agreement", "truncated_share"),
    *("overlap", "top1", "top5", "alpha"),
)
"""How the names of numbers begin that are shares, to be shown in percent."""


@dataclass(frozen=True, slots=True)
class Column:
    """One number of one metric."""

    metric: str
    number: str

    @property
    def title(self) -> str:
        """In words."""
        words = [ACRONYMS.get(word, word) for word in self.number.split("_")]
        return " ".join(words).replace("ROUGE l", "ROUGE-L")

    @property
    def share(self) -> bool:
        """Whether it is a share of examples or tokens, to be shown in percent."""
        return self.number.startswith(SHARES)


@dataclass(frozen=True, slots=True)
class Cell:
    """A value, and the difference to the baseline or the reason why there is none."""

    value: Value | None
    difference: Difference | str | None = None
    p_holm: float | None = None
    """Two-sided p of the difference, corrected over the rows of the primary column."""


Shown = TypeVar("Shown")
"""What a cell holds: values here, texts where they are shown."""


@dataclass(frozen=True, slots=True)
class Row(Generic[Shown]):
    """One run."""

    name: str
    """Of the run, or whom it is about."""
    seed: int | None
    """None where it is not one of several."""
    cells: tuple[Shown, ...]
    """One a column."""


@dataclass(frozen=True, slots=True)
class Block(Generic[Shown]):
    """One configuration: its row, and its runs where there are several."""

    group: Group
    baseline: bool
    row: Row[Shown]
    singles: tuple[Row[Shown], ...]

    @property
    def run(self) -> str:
        """Its only run's name, if the row has another."""
        only = self.group.runs[0].name
        return "" if self.group.seeded or only == self.group.label else only


@dataclass(frozen=True, slots=True)
class Table:
    """Everything in the main table and the one of all numbers."""

    columns: tuple[Column, ...]
    """All numbers, the primary one first."""
    leading: tuple[int, ...]
    """Positions of the columns in the main table."""
    blocks: tuple[Block[Cell], ...]
    """One a configuration."""
    references: tuple[Row[Cell], ...]
    """Rows of the start and the teacher, of the baseline's first run."""


EMPTY = Table(columns=(), leading=(), blocks=(), references=())
"""Of no run."""


def build(groups: Sequence[Group], baseline: Group) -> Table:
    """Values, differences and the correction over the primary column."""
    columns = columns_of(groups)
    comparison = PairedRuns()
    blocks = [_block(found, baseline, columns, comparison) for found in groups]
    wanted = [column for column in starmap(Column, LEADING) if column in columns[1:]]
    return Table(
        columns=columns,
        leading=tuple(columns.index(column) for column in [*columns[:1], *wanted]),
        blocks=tuple(_corrected(blocks)),
        references=tuple(_references(baseline, columns)),
    )


def columns_of(groups: Sequence[Group]) -> tuple[Column, ...]:
    """Every number that some run's student has, the primary one first."""
    found: dict[Column, None] = {}
    for group in groups:
        for run in group.runs:
            numbers = run.evaluation.numbers.get("student", {}) if run.evaluation else {}
            for metric, table in numbers.items():
                found |= dict.fromkeys(Column(metric, number) for number in table)
    primary = next((column for column in starmap(Column, PRIMARY) if column in found), None)
    return tuple(sorted(found, key=lambda column: column != primary))


def _block(
    group: Group, baseline: Group, columns: Sequence[Column], comparison: PairedRuns
) -> Block[Cell]:
    is_baseline = group is baseline

    def cell(runs: Sequence[Run], against: Sequence[Run], column: Column, whole: Group) -> Cell:
        value = value_of(whole, column.metric, column.number)
        if value is None or is_baseline:
            return Cell(value)
        made = comparison.difference(runs, against, metric=column.metric, number=column.number)
        return Cell(value, made)

    row = tuple(cell(group.runs, baseline.runs, column, group) for column in columns)
    singles = [
        Row(
            run.name,
            run.seed,
            tuple(
                cell([run], [same_seed(run, baseline)], column, replace(group, runs=(run,)))
                for column in columns
            ),
        )
        for run in group.runs
        if group.seeded
    ]
    return Block(group, is_baseline, Row(group.label, None, row), tuple(singles))


def _corrected(blocks: Sequence[Block[Cell]]) -> list[Block[Cell]]:
    """Holm's correction over the primary column's differences, one a configuration."""
    tested = {
        at: p
        for at, block in enumerate(blocks)
        if block.row.cells
        and isinstance(made := block.row.cells[0].difference, Difference)
        and (p := made.p) is not None
    }
    corrected = dict(zip(tested, correction.holm(list(tested.values())), strict=True))
    return [
        replace(block, row=_with_p(block.row, corrected[at])) if at in corrected else block
        for at, block in enumerate(blocks)
    ]


def _with_p(row: Row[Cell], p: float) -> Row[Cell]:
    first, *rest = row.cells
    return replace(row, cells=(replace(first, p_holm=p), *rest))


def _references(baseline: Group, columns: Sequence[Column]) -> list[Row[Cell]]:
    evaluation = baseline.runs[0].evaluation
    rows = []
    for who in ("start", "teacher"):
        if evaluation is None or not evaluation.numbers.get(who):
            continue
        cells = [
            Cell(evaluation.number(column.metric, column.number, who=who)) for column in columns
        ]
        rows.append(Row(who, None, tuple(cells)))
    return rows
