"""Tables as rows: comma- and tab-separated text, and parquet."""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from distillkit.core.errors import DataError
from distillkit.datasets.json_lines import Values
from distillkit.datasets.plain_text import lines_of, opened

LONGEST_CELL = 1 << 28
"""Characters of a cell, where the csv module's own limit is 131,072."""


def rows_of_csv(file: Path) -> Iterator[tuple[int, Values]]:
    """Rows of a table whose first line names the columns, each with the line that it ends on.

    Every cell is text as it stands, and an empty one is missing. Columns are parted by commas;
    by tabs in a ``.tsv`` file; by whichever of tab and semicolon a header without commas has.

    Raises:
        DataError: it is no such table.
    """
    lines = lines_of(file)
    header = next(lines, "")
    before = csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(chain([header], lines), delimiter=_delimiter(file, header), strict=True)
    try:
        names = next(reader, [])
        _check_header(file, names)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise DataError(
                    f"{file}:{reader.line_num} has {len(cells)} cells under {len(names)} columns; "
                    "mend the row, and put quotes around text with commas or line ends."
                )
            yield reader.line_num, {n: c or None for n, c in zip(names, cells, strict=True)}
    except csv.Error as error:
        raise DataError(
            f"{file}:{reader.line_num} is no row of a table ({error}); mend the row, and put "
            "quotes around text with quotes or line ends."
        ) from error
    finally:
        csv.field_size_limit(before)


def _delimiter(file: Path, header: str) -> str:
    if ".tsv" in file.suffixes:
        return "\t"
    return next((sign for sign in ",\t;" if sign in header), ",")


def _check_header(file: Path, names: list[str]) -> None:
    if not any(name.strip() for name in names):
        raise DataError(f"{file} has no line of column names; write one first.")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{file} has two columns {name!r}; give each a name of its own.")


def rows_of_parquet(file: Path) -> Iterator[tuple[int, Values]]:
    """Rows of a parquet file, each with its position from 1, in the types of its columns.

    Raises:
        DataError: it is no such file.
    """
    import pyarrow  # half a second, and only this format needs it
    from pyarrow.parquet import ParquetFile

    number = 0
    with opened(file) as stream:
        try:
            for batch in ParquetFile(pyarrow.PythonFile(stream, mode="r")).iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield number, values
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            reason = str(error).strip().split("\n")[0].removesuffix(".")
            raise DataError(
                f"{file} cannot be read as parquet after row {number} ({reason}); write it anew."
            ) from error
