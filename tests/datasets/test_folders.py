"""Folders of splits under the names that people use, and what is said of what is not read."""

import gzip
import json
from pathlib import Path

import pytest

from distillkit.core.errors import DataError
from distillkit.core.types import Split
from distillkit.datasets.gsm8k import Gsm8k
from distillkit.datasets.jsonl import JsonLines
from distillkit.datasets.lessons import Lessons
from distillkit.datasets.source import Hub
from distillkit.datasets.text import Text

ALL = tuple(Split)


def put(folder: Path, name: str, count: int = 3) -> None:
    """A file of rows that say where they are from, in a format by its ending."""
    rows = [{"prompt": f"{name} {n}?", "response": "!"} for n in range(count)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    if name.endswith(".csv"):
        lines = "\n".join(["prompt,response", *(f"{row['prompt']},!" for row in rows)]).encode()
    (folder / name).write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)


def files_of(folder: Path, *splits: Split, **settings: object) -> list[str]:
    """From which file the first example of each split is."""
    gathered = JsonLines(path=str(folder), **settings).gather(splits or ALL)
    return [gathered.examples[split][0].question.split()[0] for split in splits or ALL]


def said(folder: Path, *splits: Split, **settings: object) -> str:
    """All that is said of the splits."""
    gathered = JsonLines(path=str(folder), **settings).gather(splits or ALL)
    return " | ".join(remark.sentence() for remark in gathered.remarks)


@pytest.mark.parametrize(
    "names",
    [
        ("train.jsonl", "validation.jsonl", "test.jsonl"),
        ("train.jsonl", "valid.jsonl", "test.jsonl"),
        ("train.json", "val.csv", "testing.ndjson"),
        ("training.csv", "dev.jsonl", "Test.jsonl"),
        ("Train.jsonl.gz", "eval.jsonl.gz", "test.csv"),
        ("train.jsonl", "evaluation.jsonl", "test.jsonl"),
    ],
)
def test_splits_are_found_by_the_names_that_people_give_them(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    for name in names:
        put(tmp_path, name)
    assert files_of(tmp_path) == list(names)
    assert said(tmp_path) == ""


@pytest.mark.parametrize(
    ("first", "second", "split"),
    [
        ("train.jsonl", "train.csv", "train"),
        ("train.jsonl", "train.jsonl.gz", "train"),
        ("valid.jsonl", "validation.jsonl", "validation"),
        ("dev.jsonl", "eval.jsonl", "validation"),
        ("test.jsonl", "Test.csv", "test"),
        ("train-00000-of-00001.jsonl", "train.jsonl", "train"),
    ],
)
def test_two_files_for_one_split_are_refused_and_both_named(
    first: str, second: str, split: str, tmp_path: Path
) -> None:
    for name in (first, second):
        put(tmp_path, name)
    with pytest.raises(DataError, match=f"for the {split} split; leave one") as error:
        said(tmp_path)
    assert first in str(error.value)
    assert second in str(error.value)


def test_parts_of_a_split_are_read_in_order_and_none_may_be_missing(tmp_path: Path) -> None:
    for number in (1, 0):
        put(tmp_path, f"train-0000{number}-of-00002.jsonl", 2)
    ids = [
        each.id for each in JsonLines(path=str(tmp_path), validation_share=0).examples(Split.train)
    ]
    assert ids == [f"train-0000{part}-of-00002-0000{row}" for part in (0, 1) for row in (0, 1)]
    (tmp_path / "train-00000-of-00002.jsonl").unlink()
    with pytest.raises(DataError, match="1 of 2 parts of the train split"):
        said(tmp_path)


def test_what_is_not_read_is_named_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name in ("train.jsonl", "valid.jsonl", "test.jsonl", "more.jsonl", ".hidden.jsonl"):
        put(tmp_path, name)
    (tmp_path / "test.xlsx").write_bytes(b"PK")
    (tmp_path / "parts").mkdir()
    assert "not read: more.jsonl, parts/, test.xlsx. Name them train" in said(tmp_path)
    for number in range(9):
        (tmp_path / f"z{number}").touch()
    assert "z0, z1 and 7 more" in said(tmp_path)


def test_a_folder_without_the_split_says_what_it_has(tmp_path: Path) -> None:
    put(tmp_path, "rows.jsonl")
    with pytest.raises(DataError, match=r"no train split \(not read there: rows\.jsonl\)"):
        said(tmp_path)
    put(tmp_path, "train.jsonl")
    with pytest.raises(DataError, match=r"has no test\.jsonl \(it has rows\.jsonl\)"):
        Gsm8k(path=str(tmp_path)).examples(Split.train)


def test_rows_that_leave_training_for_validation_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "train.jsonl", 52)
    put(tmp_path, "test.jsonl")
    text = said(tmp_path, validation_share=50)
    assert "the last 50 of 52 training rows are validation and are not trained on" in text
    assert "Lower dataset.validation_share" in text
    few = said(tmp_path, validation_share=2)
    assert "the last 2 of 52 training rows are validation" in few
    assert "Lower" not in few
    assert "also test" not in few
    assert said(tmp_path, Split.train, Split.test, validation_share=0) == ""


def test_a_test_split_that_is_not_there_is_said_where_it_is_asked_for(tmp_path: Path) -> None:
    for name in ("train.jsonl", "valid.jsonl"):
        put(tmp_path, name)
    assert "validation is also test" in said(tmp_path)
    assert said(tmp_path, Split.train, Split.validation) == ""
    put(tmp_path, "mine.jsonl", 9)
    single = said(tmp_path / "mine.jsonl", validation_share=3)
    assert "the last 3 of 9 training rows are validation" in single
    assert "validation is also test" in single
    assert "not read" not in single


def test_gathering_reads_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "train.jsonl", 9)
    opened: list[str] = []
    before = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: opened.append(str(path)) or before(path))
    dataset = JsonLines(path=str(tmp_path), validation_share=3)
    gathered = dataset.gather(ALL)
    assert opened == [str(tmp_path)]
    assert gathered.examples == {split: dataset.examples(split) for split in ALL}


def test_text_is_read_from_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('text\n"one, two"\n')
    (tmp_path / "valid.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n'))
    dataset = Text(path=str(tmp_path))
    assert [dataset.examples(split)[0].reference for split in ALL] == ["one, two", "three", "three"]
    (tmp_path / "book.txt.gz").write_bytes(gzip.compress("four".encode("utf-16")))
    book = Text(path=str(tmp_path / "book.txt.gz"), validation_share=0).examples(Split.train)
    assert [(each.id, each.reference) for each in book] == [("book", "four")]
    assert [remark for remark in dataset.gather(ALL).remarks if "distinct" in remark.what] == []


@pytest.mark.parametrize("path", ["x" * 300, "~nobody-of-that-name/rows.jsonl"])
@pytest.mark.parametrize("dataset", [JsonLines, Text, Gsm8k, Lessons])
def test_a_path_that_no_file_can_have_is_one_sentence(
    path: str, dataset: type[JsonLines | Text | Gsm8k | Lessons]
) -> None:
    with pytest.raises(DataError, match="cannot be looked up"):
        dataset(path=path).examples(Split.train)
    with pytest.raises(DataError, match="cannot be looked up"):
        dataset(path=path).splits()


def test_rows_of_a_hub_that_lack_a_field_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "train.jsonl").write_text('{"prompt": "?"}\n')
    hub = Hub(str(tmp_path / "copy"), None, {Split.train: "train"}, "main", Gsm8k().normalise)
    with pytest.raises(DataError, match="row train-00000 has not the fields of this dataset"):
        hub.rows(Split.train)
