"""Files of JSON: an object a line, or one list of objects. Values come through as they stand."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from distillkit.core.errors import DataError
from distillkit.datasets.plain_text import lines_of

Values = Mapping[str, Any]

SPACE = " \t\r\n"
"""What JSON takes for white space."""

WRAPPERS = ("data", "rows", "examples", "instances", "items", "records")
"""Fields in which a JSON file's object may have its list of rows."""


def read_json_lines(file: Path) -> list[Values]:
    """The objects of a file of JSON lines; blank lines are passed over.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    return [values for _, values in objects_of_lines(file)]


def objects_of_lines(file: Path) -> Iterator[tuple[int, Values]]:
    """The same, each with the number of its line.

    Raises:
        DataError: as above.
    """
    for number, line in enumerate(lines_of(file), 1):
        if line.isspace():
            continue
        values = _value(line, f"{file}:{number}", mend="mend the line")
        if type(values) is not dict:
            raise DataError(f"{file}:{number} is not a JSON object; write one object a line.")
        yield number, values


def objects_of_file(file: Path) -> Iterator[tuple[int, Values]]:
    """The objects of a JSON file, each with its position from 1, or its line.

    It may be a list of them, an object with that list in one of ``WRAPPERS``, or, whatever its
    name says, JSON lines.

    Raises:
        DataError: it holds something else.
    """
    text = "".join(lines_of(file)).strip(SPACE)
    try:
        found = _value(text, str(file), mend="mend the file")
    except DataError as error:
        if not _several(error):
            raise
        yield from objects_of_lines(file)
        return
    if isinstance(found, dict):
        lists = [found[name] for name in WRAPPERS if isinstance(found.get(name), list)]
        found = lists[0] if len(lists) == 1 else [found]
    if not isinstance(found, list):
        raise DataError(f"{file} is neither a JSON list nor an object; write a list of objects.")
    for number, values in enumerate(found, 1):
        if not isinstance(values, dict):
            raise DataError(f"{file}:{number} is not a JSON object; write a list of objects.")
        yield number, values


def _several(error: DataError) -> bool:
    cause = error.__cause__
    return isinstance(cause, json.JSONDecodeError) and cause.msg == "Extra data"


def _value(text: str, where: str, *, mend: str) -> Any:
    """A text's JSON value; ``where`` and ``mend`` are said if it is none."""
    try:
        value = _DECODER.decode(text)
        # Only an escape makes half of a surrogate pair, which no tokenizer can encode.
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise DataError(f"{where} is nested too deeply to be a row; {mend}.") from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} has half of a surrogate pair ({error.object[error.start]!a}), which is no "
            f"character; {mend}."
        ) from error
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({_reason(text, error)}); {mend}.") from error
    return value


def _reason(text: str, error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        if error.msg == "Extra data" and "\r" in text.strip(SPACE):
            return "its lines end with a carriage return alone, where a line feed is needed"
        return str(error).removesuffix(".")
    if "digits" in str(error):
        return "an integer has more than 4300 digits"
    return str(error)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which no key is lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} comes twice in one object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)
