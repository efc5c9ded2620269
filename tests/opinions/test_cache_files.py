"""A cache that is not what was written gives no opinion: every damage is one sentence."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from distillkit.compose import compose
from distillkit.core.errors import DistillkitError
from distillkit.core.rundir import RunDirectory
from distillkit.core.sealed import digest_of, sealed
from distillkit.core.store import Store
from distillkit.core.types import Author, Response, Rollout, Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import Student
from distillkit.opinions.base import Asked
from distillkit.opinions.cache_layout import CacheManifest, manifest_of, row_key
from distillkit.opinions.cache_rows import Rows, check_files
from distillkit.opinions.cached import Cached
from distillkit.programs.cache.program import make_cache
from distillkit.supports.top_k import TeacherTopK
from tests.tiny import build, save

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cache of two shards."""
    folder = tmp_path_factory.mktemp("cache")
    typed = ["dataset.train=300", "support.k=64", "shard_mb=1", f"output={folder}", "name=made"]
    return make_cache(compose("cache", typed)).path


@pytest.fixture(scope="module")
def student() -> LanguageModel:
    return build("llama", context=256)


def opened(path: Path, student: LanguageModel) -> None:
    """All that happens before the first row is given out."""
    asked = Asked(support=TeacherTopK(k=4), drawn=True, precision="fp32", folder=path)
    Cached(path=str(path)).open(student, asked)


def flip(name: str, share: float) -> Damage:
    """One bit of a file, so far from its beginning."""

    def damage(path: Path) -> None:
        file = path / name
        content = bytearray(file.read_bytes())
        content[min(int(share * len(content)), len(content) - 1)] ^= 1
        file.write_bytes(content)

    return damage


def cut(name: str, share: float) -> Damage:
    """The end of a file."""

    def damage(path: Path) -> None:
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[: int(share * len(content))])

    return damage


def gone(name: str) -> Damage:
    """A file."""
    return lambda path: (path / name).unlink()


def swapped(one: str, other: str) -> Damage:
    """Two files."""

    def damage(path: Path) -> None:
        first, second = (path / one).read_bytes(), (path / other).read_bytes()
        (path / one).write_bytes(second)
        (path / other).write_bytes(first)

    return damage


def more(name: str) -> Damage:
    """A file that was not there."""
    return lambda path: (path / name).write_bytes(b"more")


def said(field: str, value: Any) -> Damage:
    """A field of the manifest, by somebody who forgot the seal."""

    def damage(path: Path) -> None:
        file = path / "summary.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))

    return damage


def resealed(field: str, value: Any) -> Damage:
    """A field of the manifest, by somebody who knows how it is sealed."""

    def damage(path: Path) -> None:
        file = path / "summary.json"
        file.write_text(json.dumps(sealed({**json.loads(file.read_text()), field: value})))

    return damage


FIRST, SECOND = "shards/00000.safetensors", "shards/00001.safetensors"
DAMAGES: dict[str, Damage] = {
    **{
        f"a bit of {name} at {share}": flip(name, share)
        for name in (FIRST, SECOND, "index.sqlite", "summary.json")
        for share in (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)
    },
    **{
        f"{share} of {name}": cut(name, share)
        for name in (FIRST, SECOND, "index.sqlite", "summary.json", "provenance.json")
        for share in (0.0, 0.5)
    },
    **{f"no {name}": gone(name) for name in (FIRST, SECOND, "index.sqlite", "summary.json")},
    **{f"more: {name}": more(name) for name in ("shards/00002.safetensors", "shards/x")},
    "shards in each other's place": swapped(FIRST, SECOND),
    **{
        f"another {field}": said(field, value)
        for field, value in {
            "kept": "float16",
            "context": 7,
            "support": {"name": "teacher_top_k", "k": 2},
            "tokenizer": "0" * 16,
            "temperature": 2.0,
            "rows": 1,
            "files": {},
            "ids": {"end": 3, "holes": []},
        }.items()
    },
    **{
        f"another {field}, sealed": resealed(field, value)
        for field, value in {
            "tokenizer": "0" * 16,
            "ids": {"end": 500, "holes": []},
            "layout": 9,
            "fingerprint": "0" * 16,
            "context": "many",
            "files": {},
        }.items()
    },
}


def test_a_whole_cache_is_opened(made: Path, student: LanguageModel) -> None:
    """Of fifty damages none is refused for another reason."""
    opened(made, student)
    assert len(DAMAGES) >= 50


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_refused_before_a_row_is_given_out(
    damage: str, made: Path, student: LanguageModel, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    DAMAGES[damage](copy)
    with pytest.raises(DistillkitError) as refused:
        opened(copy, student)
    assert str(copy) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_index_entry_that_lies_is_found_when_it_is_read(made: Path, tmp_path: Path) -> None:
    """Somebody who reseals everything still cannot pass one row off as another."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    manifest = dict(manifest_of(copy))
    with sqlite3.connect(copy / "index.sqlite") as index:
        index.execute("UPDATE kept SET value = ?", (b"[0, 0, 3]",))
    files = {**manifest["files"], "index.sqlite": digest_of(copy / "index.sqlite")}  # type: ignore[dict-item]
    resealed("files", files)(copy)
    check_files(copy, manifest_of(copy))
    rows = Rows(copy)
    with sqlite3.connect(copy / "index.sqlite") as index:
        (key,) = index.execute("SELECT key FROM kept LIMIT 1").fetchone()
    with pytest.raises(DistillkitError, match="an entry is not what was kept"):
        rows.entry(key)


def test_a_row_that_is_another_text_is_found_when_it_is_read(
    made: Path, student: LanguageModel, tmp_path: Path
) -> None:
    """Whoever rewrites the index with all digests still cannot give one text another's opinion."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    first, second = Arithmetic(train=300).examples(Split.train)[:2]
    texts = [student.reference_ids(each) for each in (first, second)]
    keys = [row_key(each, tokens) for each, tokens in zip((first, second), texts, strict=True)]
    index = Store(copy / "index.sqlite")
    place = json.loads(index.get(keys)[keys[1]])
    index.forget(keys[:1])
    index.put({keys[0]: json.dumps([*place[:2], len(texts[0])]).encode()})
    files = json.loads((copy / "summary.json").read_text())["files"]
    resealed("files", {**files, "index.sqlite": digest_of(copy / "index.sqlite")})(copy)
    asked = Asked(support=TeacherTopK(k=4), drawn=True, precision="fp32", folder=copy)
    reader = Cached(path=str(copy)).open(student, asked)
    response = Response(texts[0], truncated=False, author=Author.dataset)
    with pytest.raises(DistillkitError, match="the row of market-train-0 is another's"):
        reader.read([Rollout(first, response)])


def test_a_student_of_another_tokenizer_is_refused(made: Path, tmp_path: Path) -> None:
    tokens = ["<pad>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({token: at for at, token in enumerate(tokens)}, []))
    other = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<pad>")
    folder = save(tmp_path / "other", tokenizer=other, vocab_size=len(tokens))
    student = load(Student(name=str(folder)), device=torch.device("cpu"), precision="fp32")
    with pytest.raises(DistillkitError, match="field tokenizer of its manifest"):
        opened(made, student)


def test_a_cache_that_is_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "begun", shape=CacheManifest)
    with directory.claim(fingerprint="0" * 16, config="{}", overrides=[], provenance={}):
        pass
    with pytest.raises(DistillkitError, match="holds no finished cache"):
        manifest_of(directory.path)
