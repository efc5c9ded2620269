"""Files of rows by the ending of their name."""

from collections.abc import Callable, Iterator
from pathlib import Path

from distillkit.core.errors import DataError
from distillkit.datasets.json_lines import Values, objects_of_file, objects_of_lines
from distillkit.datasets.plain_text import COMPRESSIONS, lines_of, without_compression
from distillkit.datasets.tables import rows_of_csv, rows_of_parquet

Numbered = Iterator[tuple[int, Values]]
"""Rows with their lines in the file, or their positions from 1."""

FORMATS: dict[str, Callable[[Path], Numbered]] = {
    ".jsonl": objects_of_lines,
    ".ndjson": objects_of_lines,
    ".json": objects_of_file,
    ".csv": rows_of_csv,
    ".tsv": rows_of_csv,
    ".parquet": rows_of_parquet,
}
"""Readers by ending."""

READ = (
    f"JSON lines (.jsonl, .ndjson), JSON (.json), .csv, .tsv and .parquet, each also as "
    f"{', '.join(COMPRESSIONS)}"
)
"""What is read, in words."""


def rows_of(file: Path) -> Numbered:
    """The rows of a file. One with another ending may still be JSON.

    Raises:
        DataError: it is in a format that is not read, or damaged.
    """
    bare = without_compression(file)
    reader = FORMATS.get(bare.suffix.lower())
    if reader is not None and not (reader is objects_of_lines and _begins(file, "[")):
        return reader(file)
    if reader is None and not _looks_like_json(file):
        ending = f"the ending {bare.suffix}" if bare.suffix else "no ending"
        raise DataError(
            f"{file} is in no format that is read: it has {ending}, and no JSON in it. Read are "
            f"{READ}; save the rows as one of these."
        )
    return objects_of_file(file)


def is_rows(file: Path) -> bool:
    """Whether a file's ending is one that is read."""
    return without_compression(file).suffix.lower() in FORMATS


def stem(file: Path) -> str:
    """A file's name without its endings: ``train`` for ``train.jsonl.gz``."""
    return without_compression(file).stem


def _looks_like_json(file: Path) -> bool:
    try:
        return _begins(file, "{") or _begins(file, "[")
    except DataError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return False


def _begins(file: Path, sign: str) -> bool:
    for line in lines_of(file):
        if not line.isspace():
            return line.lstrip().startswith(sign)
    return False
