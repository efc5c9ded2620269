"""The one reader of files that distillkit left behind: what was written there, or one sentence.

A file may be missing, torn, edited, of another run, or no file at all. Whatever is wrong with it,
the error is a :class:`RunError` that names the file, what is wrong and the way out.
"""

import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from distillkit.core.errors import RunError

MOST = 1_000_000
"""Values that a yaml file may unfold to; a few lines of aliases can make billions."""


def read_bytes(file: Path, *, way_out: str) -> bytes:
    """The bytes of an ordinary file.

    Args:
        file: what to read.
        way_out: what the user can do, a sentence or several.

    Raises:
        RunError: it is missing, unreadable, or no ordinary file.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise damaged(file, "it is no ordinary file", way_out=way_out)
        return file.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{file} is missing. {way_out}") from error
    except OSError as error:
        raise RunError(f"{file} cannot be read ({error.strerror}). {way_out}") from error


def read_text(file: Path, *, way_out: str) -> str:
    """The text of a UTF-8 file; raises as :func:`read_bytes`."""
    with _sound(file, way_out):
        return read_bytes(file, way_out=way_out).decode("utf-8")


def read_json(file: Path, shape: Any, *, way_out: str) -> Any:
    """The value of a JSON file.

    Args:
        file: what to read.
        shape: the type that it must have, such as ``dict[str, float]`` or a ``TypedDict``; fields
            that a ``TypedDict`` does not name may be there too.
        way_out: what the user can do, a sentence or several.

    Raises:
        RunError: the file cannot be read, is no JSON, or has another shape.
    """
    text = read_text(file, way_out=way_out)
    with _sound(file, way_out):
        return fitting(json.loads(text), shape)


def read_json_lines(file: Path, shape: Any, *, way_out: str) -> list[Any]:
    """The values of a file of JSON lines, each of one shape; raises as :func:`read_json`."""
    content = read_bytes(file, way_out=way_out)
    return parse_json_lines(content, shape, file=file, way_out=way_out)


def parse_json_lines(content: bytes, shape: Any, *, file: Path, way_out: str) -> list[Any]:
    """The same of bytes that were read from the file; blank lines are passed over."""
    rows = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            with _sound(f"line {number} of {file}", way_out):
                rows.append(fitting(json.loads(line.decode("utf-8")), shape))
    return rows


def read_yaml(file: Path, shape: Any, *, way_out: str) -> Any:
    """The value of a yaml file of plain values; raises as :func:`read_json`."""
    text = read_text(file, way_out=way_out)
    with _sound(file, way_out):
        value = yaml.safe_load(text)
        _count(value)
        return fitting(value, shape)


def read_with(read: Callable[[Path], Any], file: Path, *, way_out: str) -> Any:
    """What a library's own reader of tensors makes of a file.

    Args:
        read: ``safetensors.torch.load_file`` or the like.
        file: what to read.
        way_out: what the user can do, a sentence or several.

    Raises:
        RunError: the file cannot be read, or the library cannot make sense of it.
    """
    if not file.is_file():
        read_bytes(file, way_out=way_out)
    with _sound(file, way_out):
        return read(file)


def fitting(value: Any, shape: Any) -> Any:
    """The value itself, if it has the shape.

    Raises:
        ValueError: it has not; the message says where and why.
    """
    try:
        _adapter(shape).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    return value


def damaged(what: object, why: str, *, way_out: str) -> RunError:
    """The error about a file that is not what was written."""
    return RunError(f"{what} is damaged ({why}). {way_out}")


@lru_cache(maxsize=64)
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


@contextmanager
def _sound(what: object, way_out: str) -> Iterator[None]:
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        # A damaged file may break a parser in any way, down to its recursion and its memory.
        said = re.sub(r"\s+", " ", str(error)).strip()[:200].removesuffix(".")
        raise damaged(what, said or type(error).__name__, way_out=way_out) from error


def _count(value: Any) -> None:
    """Refuse what unfolds without end: every alias counts as often as it stands there."""
    left, waiting = MOST, [value]
    while waiting:
        each = waiting.pop()
        left -= 1
        if left < 0:
            raise ValueError("its aliases unfold to more than a million values")
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
