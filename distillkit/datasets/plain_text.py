"""Text files as people have them: compressed or not, and in the encoding that they begin with."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from distillkit.core.errors import DataError

LONGEST_LINE = 1 << 28
"""Bytes of a line above which a file is taken for something else than rows."""

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks and the encodings that they announce; the longer ones first."""


FOREIGN = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zX": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PAR1": ".parquet",
    b"PK\3\4": ".zip",
}
"""Beginnings of files that are no text, and the ending that they should have."""


def _zstandard(file: Path) -> Any:
    import pyarrow  # half a second, and only this compression needs it

    return pyarrow.input_stream(str(file), compression="zstd")


COMPRESSIONS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstandard,
}
"""Openers by the ending of a compressed file."""


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed as its ending says.

    Raises:
        DataError: it cannot be read, now or while the block reads it.
    """
    opener = COMPRESSIONS.get(file.suffix.lower(), partial(open, mode="rb"))
    try:
        with opener(file) as stream:
            yield cast(BinaryIO, stream)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(
            f"{file} cannot be read ({' '.join(reason.split()).rstrip('.')}); give a whole file "
            "that may be read."
        ) from error


def lines_of(file: Path) -> Iterator[str]:
    """The lines of a text file, with their ends; only a line feed ends one.

    Raises:
        DataError: it cannot be read, or is not in the encoding that it begins with, else UTF-8.
    """
    with opened(file) as stream:
        reader = io.BufferedReader(cast(Any, stream))
        encoding = _encoding(file, reader.peek(4)[:4])
        # The wide encodings have line feeds inside of characters.
        wide = encoding not in ("utf-8", "utf-8-sig")
        number = 0
        try:
            if wide:
                yield from io.TextIOWrapper(reader, encoding=encoding, newline="\n")
                return
            for number, line in enumerate(_byte_lines(file, cast(BinaryIO, reader)), 1):
                yield line.decode(encoding if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            where = file if wide else f"{file}:{number}"
            how = "" if wide else ", as iconv -f LATIN1 -t UTF-8 does with Western European text"
            raise DataError(
                f"{where} is not {encoding.removesuffix('-sig').upper()} ({error.reason}); save "
                f"the file as UTF-8{how}."
            ) from error


def _encoding(file: Path, head: bytes) -> str:
    """The encoding of a text that begins with these bytes."""
    if kind := next((kind for mark, kind in FOREIGN.items() if head.startswith(mark)), None):
        raise DataError(
            f"{file} is a {kind} file inside, whatever its name says; rename it, or save it as "
            "text."
        )
    encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        raise DataError(
            f"{file} begins with NUL bytes, as UTF-16 without its mark and damaged files do; "
            "save it as UTF-8."
        )
    return encoding


def _byte_lines(file: Path, reader: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(iter(partial(reader.readline, LONGEST_LINE), b""), 1):
        if len(line) >= LONGEST_LINE:
            raise DataError(
                f"{file}:{number} is a line of more than {LONGEST_LINE >> 20} MiB, which is no "
                "row to learn from; give a file with a row a line."
            )
        yield line


def without_compression(file: Path) -> Path:
    """The file's name without the ending of its compression."""
    return file.with_suffix("") if file.suffix.lower() in COMPRESSIONS else file
