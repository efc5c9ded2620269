"""The table as the page's template wants it: texts, and shapes in the coordinates of a cell."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.report.comparing import Difference
from distillkit.report.evaluations import Value
from distillkit.report.settings import ABSENT
from distillkit.report.tables import Block, Cell, Column, Row, Table
from distillkit.report.wording import heading, interval, number, p_value, reach, signed

WIDTH, MARGIN = 200, 10
"""Of the little picture of a difference."""


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell: its texts, empty where there is nothing to say."""

    value: Value | None
    text: str
    interval: str
    difference: float | None
    change: str
    reach: str
    reason: str
    p: float | None
    p_text: str


@dataclass(frozen=True, slots=True)
class Forest:
    """A difference as places on a line: zero, both ends, and both ends over seeds."""

    zero: float
    value: float
    low: float
    high: float
    seeds: tuple[float, float] | None
    alt: str


@dataclass(frozen=True, slots=True)
class RowView(Row[CellView]):
    """One row, with the picture of its difference."""

    forest: Forest | None


@dataclass(frozen=True, slots=True)
class TableView:
    """A table: headings, rows of start and teacher, and configurations."""

    columns: tuple[str, ...]
    forest: str
    """Heading of the picture of differences, empty where there is none."""
    references: tuple[RowView, ...]
    blocks: tuple[Block[CellView], ...]


def view(table: Table, chosen: Sequence[int]) -> TableView:
    """The columns at these places; with the picture of differences if the primary is first."""
    columns = [table.columns[at] for at in chosen]
    scale = _Scale.over(table) if chosen and chosen[0] == 0 else None

    def row(made: Row[Cell]) -> RowView:
        cells = [made.cells[at] for at in chosen]
        shown = tuple(_cell(cell, column) for cell, column in zip(cells, columns, strict=True))
        forest = scale.place(cells[0], columns[0]) if scale else None
        return RowView(made.name, made.seed, shown, forest)

    def block(made: Block[Cell]) -> Block[CellView]:
        singles = tuple(map(row, made.singles))
        return Block(made.group, made.baseline, row(made.row), singles)

    return TableView(
        columns=tuple(map(heading, columns)),
        forest=f"Δ {columns[0].title}" if scale else "",
        references=tuple(map(row, table.references)),
        blocks=tuple(map(block, table.blocks)),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float

    @classmethod
    def over(cls, table: Table) -> "_Scale | None":
        rows = [row for block in table.blocks for row in (block.row, *block.singles)]
        cells = [row.cells[0].difference for row in rows if row.cells]
        found = [made for made in cells if isinstance(made, Difference)]
        every = [end for made in found for end in (made.low, made.value, made.high)]
        ends = [end for end in every if end is not None]
        low, high = min([0.0, *ends]), max([0.0, *ends])
        # With two seeds Student's t reaches far; it must not press everything else together.
        over = [made.seeds for made in found if made.seeds]
        lows = [seeds.low for seeds in over if seeds.low is not None]
        highs = [seeds.high for seeds in over if seeds.high is not None]
        span = high - low
        low, high = (
            max(min([low, *lows]), low - span / 3),
            min(max([high, *highs]), high + span / 3),
        )
        return cls(low, high) if span else None

    def place(self, cell: Cell, column: Column) -> Forest | None:
        made = cell.difference
        if not isinstance(made, Difference) or made.low is None or made.high is None:
            return None
        seeds = made.seeds
        alt = f"{signed(made.value, column)}, {reach(made, column)}"
        over = None
        if seeds and seeds.low is not None and seeds.high is not None:
            over = (self._x(seeds.low), self._x(seeds.high))
            alt += f"; over seeds {reach(seeds, column)}"
        return Forest(
            zero=self._x(0),
            value=self._x(made.value),
            low=self._x(made.low),
            high=self._x(made.high),
            seeds=over,
            alt=alt,
        )

    def _x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(min(WIDTH, max(0.0, MARGIN + share * (WIDTH - 2 * MARGIN))), 1)


def _cell(cell: Cell, column: Column) -> CellView:
    made = cell.difference
    is_made = isinstance(made, Difference)
    return CellView(
        value=cell.value,
        text=number(cell.value.value, column) if cell.value else ABSENT,
        interval=interval(cell.value, column) if cell.value else "",
        difference=made.value if isinstance(made, Difference) else None,
        change=signed(made.value, column) if isinstance(made, Difference) else "",
        reach=reach(made, column) if isinstance(made, Difference) else "",
        reason="" if is_made or made is None else str(made),
        p=cell.p_holm,
        p_text=p_value(cell.p_holm),
    )
