"""Files of JSON lines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.core.errors import DataError

Values = Mapping[str, Any]


def read_json_lines(file: Path) -> list[Values]:
    """The objects of a file of JSON lines; blank lines are passed over.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    rows: list[Mapping[str, Any]] = []
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}).") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            reason = f"{error}".removesuffix(".")
            raise DataError(f"{file}:{number} is not JSON ({reason}); mend the line.") from error
        if not isinstance(values, dict):
            raise DataError(f"{file}:{number} is not a JSON object; write one object a line.")
        rows.append(values)
    return rows
