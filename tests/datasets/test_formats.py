"""Files of rows in every format that is read: values as they stand, and damage in one sentence."""

import bz2
import codecs
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from distillkit.core.errors import DataError
from distillkit.core.types import Split
from distillkit.datasets import plain_text
from distillkit.datasets.formats import rows_of
from distillkit.datasets.jsonl import JsonLines

ROWS: list[dict[str, Any]] = [
    {"id": "007", "prompt": "One, two?", "response": 'He said "1, 2"'},
    {"id": "8", "prompt": "Naïve\nand ₂?", "response": " 2 "},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'id,prompt,response\n007,"One, two?","He said ""1, 2"""\n8,"Naïve\nand ₂?", 2 \n'


def zstandard(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


FORMATS = {
    "rows.jsonl": LINES.encode(),
    "rows.ndjson": LINES.replace("\n", "\r\n").encode(),
    "rows.json": json.dumps(ROWS, indent=1).encode(),
    "data.json": json.dumps({"version": "1.1", "data": ROWS}).encode(),
    "lines.json": LINES.encode(),
    "list.jsonl": json.dumps(ROWS).encode(),
    "rows.csv": CSV.encode(),
    "semicolons.csv": CSV.replace(",p", ";p")
    .replace(",r", ";r")
    .replace("7,", "7;")
    .replace('?",', '?";')
    .replace("8,", "8;")
    .encode(),
    "rows.tsv": b'id\tprompt\tresponse\n007\tOne, two?\t"He said ""1, 2"""\n8\t"Na\xc3\xafve\n'
    b'and \xe2\x82\x82?"\t 2 \n',
    "rows.parquet": as_parquet(ROWS),
    "rows.jsonl.gz": gzip.compress(LINES.encode()),
    "rows.json.bz2": bz2.compress(json.dumps(ROWS).encode()),
    "rows.csv.xz": lzma.compress(CSV.encode()),
    "rows.jsonl.zst": zstandard(LINES.encode()),
    "rows.parquet.gz": gzip.compress(as_parquet(ROWS)),
    "ROWS.JSONL": LINES.encode(),
    "rows": LINES.encode(),
    "rows.txt": LINES.encode(),
    "marked.jsonl": codecs.BOM_UTF8 + LINES.encode(),
    "marked.csv": codecs.BOM_UTF8 + CSV.encode(),
    "little.jsonl": codecs.BOM_UTF16_LE + LINES.encode("utf-16-le"),
    "big.json": codecs.BOM_UTF16_BE + json.dumps(ROWS).encode("utf-16-be"),
    "wide.csv": codecs.BOM_UTF32_LE + CSV.encode("utf-32-le"),
    "wide.jsonl.gz": gzip.compress(codecs.BOM_UTF16_LE + LINES.encode("utf-16-le")),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_examples(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMATS[name])
    dataset = JsonLines(path=str(tmp_path / name), validation_share=0)
    found = dataset.examples(Split.train)
    assert [(each.id, each.question, each.reference) for each in found] == [
        (row["id"], row["prompt"], row["response"]) for row in ROWS
    ]


def test_rows_without_an_id_are_named_by_their_file_without_its_endings(tmp_path: Path) -> None:
    rows = [{"prompt": "?", "response": "!"}]
    (tmp_path / "mine.jsonl.gz").write_bytes(gzip.compress(json.dumps(rows[0]).encode()))
    (tmp_path / "nameless.parquet").write_bytes(as_parquet([{**rows[0], "id": float("nan")}]))
    for name, given in {
        "mine.jsonl.gz": "mine-00000",
        "nameless.parquet": "nameless-00000",
    }.items():
        dataset = JsonLines(path=str(tmp_path / name), validation_share=0)
        assert [each.id for each in dataset.examples(Split.train)] == [given]


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_json_values_come_through_as_they_stand(tmp_path: Path, ending: str) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 7, "a": 2**70, "b": [1, "x", None, {"c": True}], "d": "2026-01-01", "e": "nan"},
        {"id": "007", "a": "2", "b": {"c": 1.5}, "d": "None", "f": "null"},
    ]
    file = tmp_path / f"rows.{ending}"
    lines = "\n".join(map(json.dumps, rows))
    file.write_text(lines if ending == "jsonl" else json.dumps(rows))
    assert [values for _, values in rows_of(file)] == rows


def test_cells_of_a_table_are_text_and_an_empty_one_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id,a,b\n007,1e3,\n\n8,NaN,None\n")
    assert list(rows_of(file)) == [
        (2, {"id": "007", "a": "1e3", "b": None}),
        (4, {"id": "8", "a": "NaN", "b": "None"}),
    ]


def test_a_column_of_a_parquet_file_keeps_its_type_where_a_cell_is_missing(tmp_path: Path) -> None:
    rows = [
        {"id": 2**62 + 1, "chat": [{"role": "user", "content": "?"}]},
        {"id": None, "chat": None},
    ]
    (tmp_path / "rows.parquet").write_bytes(as_parquet(rows))
    assert [values for _, values in rows_of(tmp_path / "rows.parquet")] == rows


def test_a_cell_longer_than_the_csv_modules_own_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"prompt\n{'x' * 200_000}\n")
    assert [len(values["prompt"]) for _, values in rows_of(file)] == [200_000]


ROW = '{"prompt": "?", "response": "!"}\n'
DAMAGED = {
    "nested.jsonl": (ROW + '{"prompt": ' + "[" * 100_000, "nested.jsonl:2", "nested too deeply"),
    "whole.json": ("[" * 100_000 + "]" * 100_000, "whole.json", "nested too deeply"),
    "list.jsonl": (ROW + "[1, 2]\n", "list.jsonl:2", "not a JSON object"),
    "numbers.json": ("[1, 2]", "numbers.json:1", "not a JSON object"),
    "text.json": ('"rows"', "text.json", "neither a JSON list nor an object"),
    "empty.json": ("", "empty.json", "not JSON"),
    "torn.jsonl": (ROW + ROW[:12], "torn.jsonl:2", "not JSON"),
    "torn.json": (f"[{ROW}, {ROW[:12]}", "torn.json", "not JSON"),
    "twice.jsonl": (
        ROW + '{"prompt": "?", "prompt": "!"}',
        "twice.jsonl:2",
        "'prompt' comes twice",
    ),
    "inner.json": ('[{"a": {"b": 1, "b": 2}}]', "inner.json", "'b' comes twice"),
    "old.jsonl": ((ROW * 2).replace("\n", "\r"), "old.jsonl:1", "carriage return"),
    "control.jsonl": (ROW + '{"prompt": "\0"}', "control.jsonl:2", "control character"),
    "zeros.jsonl": ("\0" * 20, "zeros.jsonl", "NUL bytes"),
    "digits.jsonl": (ROW + '{"prompt": ' + "1" * 5000 + "}", "digits.jsonl:2", "4300 digits"),
    "half.jsonl": (ROW + '{"prompt": "\\ud800"}', "half.jsonl:2", "half of a surrogate pair"),
    "Half.json": ('[{"prompt": "\\uD800"}]', "Half.json", "half of a surrogate pair"),
    "cells.csv": ("prompt,response\na,b\na,b,c\n", "cells.csv:3", "3 cells under 2 columns"),
    "short.csv": ("prompt,response\na\n", "short.csv:2", "1 cells under 2 columns"),
    "columns.csv": ("prompt,prompt\na,b\n", "columns.csv", "two columns 'prompt'"),
    "bare.csv": ("", "bare.csv", "column names"),
    "quote.csv": ('prompt,response\na,"b\n', "quote.csv:", "no row of a table"),
    "stray.csv": ('prompt,response\na,"b"c\n', "stray.csv:2", "no row of a table"),
    "western.jsonl": (b'{"prompt": "a"}\n{"prompt": "na\xefve"}', "western.jsonl:2", "not UTF-8"),
    "western.csv": (b"prompt\nna\xefve\n", "western.csv:2", "iconv -f LATIN1"),
    "unmarked.jsonl": (ROW.encode("utf-16-le"), "unmarked.jsonl", "UTF-16 without its mark"),
    "cut.jsonl": (codecs.BOM_UTF16_LE + b'{\0"', "cut.jsonl", "not UTF-16"),
    "cut.jsonl.gz": (gzip.compress(ROW.encode() * 99)[:-9], "cut.jsonl.gz", "cannot be read"),
    "no.jsonl.gz": (ROW, "no.jsonl.gz", "cannot be read"),
    "cut.jsonl.bz2": (bz2.compress(ROW.encode())[:-9], "cut.jsonl.bz2", "cannot be read"),
    "cut.json.xz": (lzma.compress(ROW.encode())[:-9], "cut.json.xz", "cannot be read"),
    "no.json.xz": (ROW, "no.json.xz", "cannot be read"),
    "cut.csv.zst": (zstandard(CSV.encode())[:-9], "cut.csv.zst", "cannot be read"),
    "no.csv.zst": (ROW, "no.csv.zst", "cannot be read"),
    "cut.parquet": (as_parquet(ROWS)[:-9], "cut.parquet", "as parquet"),
    "no.parquet": (ROW, "no.parquet", "as parquet"),
    "empty.parquet": ("", "empty.parquet", "as parquet"),
    "packed.jsonl": (gzip.compress(ROW.encode()), "packed.jsonl is a .gz file inside", "rename"),
    "table.csv": (as_parquet(ROWS), "table.csv is a .parquet file inside"),
    "twice.jsonl.gz": (gzip.compress(zstandard(ROW.encode())), "twice.jsonl.gz is a .zst file"),
    "book.xlsx": (b"PK\x03\x04\x14\0\x06\0\xff", "book.xlsx", "the ending .xlsx", ".parquet"),
    "rows.pkl": (b"\x80\x04\x95", "rows.pkl", "the ending .pkl", "JSON lines"),
    "rows.tar.gz": (gzip.compress(b"rows\xff"), "rows.tar.gz", "the ending .tar"),
    "rows.yaml": ("- prompt: a\n", "rows.yaml", "the ending .yaml"),
    "rows": ("prompt: a\n", "rows", "no ending"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_or_foreign_file_is_named_in_one_sentence(name: str, tmp_path: Path) -> None:
    content, *words = DAMAGED[name]
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        JsonLines(path=str(tmp_path / name), validation_share=0).examples(Split.train)
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 600
    for word in words:
        assert word in said


def test_a_line_that_is_no_row_by_its_length_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_text, "LONGEST_LINE", 1 << 10)
    file = tmp_path / "rows.jsonl"
    file.write_text(ROW + json.dumps({"prompt": "x" * 2000}))
    with pytest.raises(DataError, match=r"rows\.jsonl:2 is a line of more than"):
        list(rows_of(file))


def test_a_pattern_reads_several_files_as_one_training_split(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(ROW)
    (tmp_path / "c.csv").write_text("prompt,response\nc,d\n")
    dataset = JsonLines(path=f"{tmp_path}/*.jsonl", validation_share=0)
    assert [each.id for each in dataset.examples(Split.train)] == ["a-00000", "b-00000"]


def test_nothing_is_written_beside_the_data_or_into_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    file = tmp_path / "rows.parquet"
    file.write_bytes(as_parquet(ROWS))
    assert len(list(rows_of(file))) == 2
    assert list(tmp_path.iterdir()) == [file]
