"""Running text: files, folders and hub rows in passages that lose nothing and are asked nothing."""

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Split
from distillkit.datasets.text import Text, opened, passages
from distillkit.evaluation.quality import measure
from distillkit.models.pretrained import PromptStyle, Teacher
from distillkit.models.sampling import Sampling
from distillkit.training.authors import DatasetAuthor
from tests.tiny import build

DATA = Path(__file__).parents[3] / "shared" / "data"
PUBLISHED = {
    "tinystories_1k": ("train", "validation", "test"),
    "tinyshakespeare": ("train", "validation", "test"),
    "gutenberg_children": ("train", "validation", "test"),
    "wikitext2": ("validation", "test"),
}
STORY = "Tom has 12 apples and 30 pears. He eats 4 of them."


def write(folder: Path, name: str, *texts: str, field: str = "text") -> str:
    """Write rows with numbers for ids, and return the file as text."""
    rows = [json.dumps({"id": f"d{n}", field: text}) for n, text in enumerate(texts)]
    (folder / name).write_text("".join(f"{row}\n" for row in rows))
    return str(folder / name)


def whole(path: str, **settings: Any) -> Text:
    """All of a file as training text."""
    return Text(path=path, **{"validation_share": 0, **settings})


words = st.text(alphabet="ab \n\u00a0é", max_size=60)


@given(words, st.integers(1, 12))
def test_passages_joined_are_the_text_and_none_is_empty_or_too_long(
    text: str, characters: int
) -> None:
    pieces = passages(text, characters)
    assert "".join(pieces) == text.strip()
    assert all(1 <= len(piece) <= characters for piece in pieces)


@given(st.lists(st.text(alphabet="ab", min_size=1, max_size=5), max_size=30), st.integers(6, 20))
def test_no_word_is_cut_that_fits_and_no_passage_is_shorter_than_it_must_be(
    words: list[str], characters: int
) -> None:
    pieces = passages(" ".join(words), characters)
    assert [word for piece in pieces for word in piece.split()] == words
    for piece, following in pairwise(pieces):
        assert len(f"{piece} {following.split()[0]}") > characters


def test_a_line_ends_a_word_as_a_space_does() -> None:
    assert passages("one\ntwo\tthree", 7) == ["one\ntwo", "\tthree"]
    assert passages("one\ntwo", 6) == ["one", "\ntwo"]


def test_a_word_longer_than_a_passage_is_cut_inside() -> None:
    assert passages("so " + "x" * 7 + " end", 3) == ["so", " xx", "xxx", "xx", " en", "d"]


def test_a_long_document_is_numbered_and_only_its_last_passage_is_closed(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.jsonl", "one two three", " short\n", "", "one two")
    examples = whole(path, characters=7).examples(Split.train)
    assert [(item.id, item.reference, item.closed) for item in examples] == [
        ("d0-0", "one two", False),
        ("d0-1", " three", True),
        ("d1", "short", True),
        ("d3", "one two", True),
    ]
    for item in examples:
        assert (item.prompt, item.question, item.answer) == ((), "", "")
    assert whole(path).extract("one") is None


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text("\ufeffOne.\n\nTwo is näive.\n", encoding="utf-8")
    examples = whole(str(file), characters=9).examples(Split.train)
    assert [(item.id, item.reference) for item in examples] == [
        ("book-0", "One.\n\nTwo"),
        ("book-1", " is"),
        ("book-2", " näive."),
    ]
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=f"{file} is not UTF-16 .*UTF-8"):
        whole(str(file)).examples(Split.train)


def test_caps_and_the_validation_share_count_passages(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.jsonl", "a b c d e f", "g")
    dataset = Text(path=path, characters=1, validation_share=2, train=3)
    # Every second passage is a space with nothing behind it: one character holds no more.
    assert [item.reference for item in dataset.examples(Split.train)] == ["a", " ", "b"]
    assert [item.id for item in dataset.examples(Split.validation)] == ["d0-10", "d1"]


def test_a_folder_gives_each_split_its_own_file_and_the_field_may_have_another_name(
    tmp_path: Path,
) -> None:
    write(tmp_path, "train.jsonl", "learn", field="story")
    write(tmp_path, "validation.jsonl", "look", field="story")
    dataset = Text(path=str(tmp_path), text_field="story")
    found = [dataset.examples(split)[0].reference for split in Split]
    assert found == ["learn", "look", "look"]
    with pytest.raises(DataError, match="row d0 has no text"):
        Text(path=str(tmp_path)).examples(Split.train)


@pytest.mark.parametrize(("documents", "count"), [(None, 5), (3, 3), (2**80, 5)])
def test_hub_rows_are_passages_too_whole_or_the_first_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int | None, count: int
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "copy").mkdir()
    write(tmp_path / "copy", "train.jsonl", *(f"{n} and more" for n in range(5)))
    dataset = Text(
        repository=str(tmp_path / "copy"), documents=documents, characters=5, validation_share=2
    )
    train, validation = (dataset.examples(part) for part in (Split.train, Split.validation))
    assert [item.id for item in train][:3] == [f"train-00000-{n}" for n in range(2)] + [
        "train-00001-0"
    ]
    assert "".join(item.reference for item in [*train, *validation]) == "".join(
        f"{n} and more" for n in range(count)
    )


def test_a_hub_that_cannot_be_read_in_part_says_how_to_go_on_without_it(tmp_path: Path) -> None:
    dataset = Text(repository=str(tmp_path / "absent"), documents=3)
    with pytest.raises(DataError, match="give a local folder as dataset.path"):
        dataset.examples(Split.train)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "dataset.path=None and dataset.repository=None: give one"),
        ({"path": "a", "repository": "b"}, "dataset.path=a and dataset.repository=b: give one"),
        ({"path": "a", "characters": 0}, "dataset.characters=0"),
        ({"path": "a", "documents": 0}, "dataset.documents=0"),
        ({"path": "a", "opening": -1}, "dataset.opening=-1"),
        ({"path": "a", "train": 0}, "dataset.train=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Text(**settings)


@pytest.mark.parametrize(
    ("name", "split"), [(name, split) for name, splits in PUBLISHED.items() for split in splits]
)
def test_published_text_is_cut_and_joins_to_what_it_was(name: str, split: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"no published data at {DATA / name}")
    lines = (DATA / name / f"{split}.jsonl").read_text(encoding="utf-8").split("\n")
    texts = [json.loads(line)["text"].strip() for line in lines if line]
    examples = Text(path=str(DATA / name)).examples(Split(split))
    joined, open_text = list[str](), ""
    for item in examples:
        assert 1 <= len(item.reference) <= 2000
        open_text += item.reference
        if item.closed:
            joined.append(open_text)
            open_text = ""
    assert joined == texts
    assert len({item.id for item in examples}) == len(examples)


def test_the_writer_closes_a_document_and_not_a_passage_inside_it(tmp_path: Path) -> None:
    """Trap 19: an end token in the middle of a text would teach the model to stop there."""
    student = build()
    examples = whole(write(tmp_path, "mine.jsonl", STORY), characters=20).examples(Split.train)
    responses = DatasetAuthor(student, [student]).write(examples, step=0)
    assert len(responses) == 3
    for item, response in zip(examples, responses, strict=True):
        text = student.tokenizer(item.reference, add_special_tokens=False)["input_ids"]
        last = item is examples[-1]
        assert response.tokens == (*text, student.end_id)[: len(text) + last]
        assert response.truncated is not last
    decoded = [student.tokenizer.decode(response.tokens[:-1]) for response in responses[-1:]]
    assert STORY.endswith(decoded[0])


@pytest.mark.parametrize("style", [PromptStyle.plain, PromptStyle.alpaca, PromptStyle.chat])
def test_text_is_scored_behind_one_token_whatever_the_prompt_format(
    tmp_path: Path, style: PromptStyle
) -> None:
    """Likelihood against a forward pass over the bare text."""
    model = build("gpt2", side=Teacher, prompt=style)
    dataset = whole(write(tmp_path, "mine.jsonl", STORY, "So."), characters=20)
    examples = dataset.examples(Split.train)
    nats, count = 0.0, 0
    for item in examples:
        ids = model.tokenizer.encode(item.reference, add_special_tokens=False)
        read = torch.tensor([[model.end_id, *ids, *([model.end_id] if item.closed else [])]])
        with torch.no_grad():
            logits = model.module(input_ids=read).logits[0, :-1, : model.head.vocabulary]
        nats += functional.cross_entropy(logits, read[0, 1:], reduction="sum").item()
        count += read.shape[1] - 1
    sampling = Sampling(max_new_tokens=2, batch_size=2)
    quality = measure(model, dataset, examples, sampling=sampling)
    assert quality.nll == pytest.approx(nats / count, rel=1e-5)
    assert "accuracy" not in quality.numbers()
    assert quality.score == -quality.nll


def test_an_opening_is_given_whole_words_and_at_most_half_of_a_passage() -> None:
    assert opened("One two three four five", 8) == ("One two", " three four five")
    # A space just behind it ends a word too.
    assert opened("One two three four five", 7) == ("One two", " three four five")
    assert opened("One two three four five", 100) == ("One two", " three four five")
    assert opened("One two", 0) == ("", "One two")
    # The white space at which a passage was cut is no end of a word.
    assert opened(" Unbreakable words", 5) == ("", " Unbreakable words")
    assert opened("", 5) == ("", "")


@given(words, st.integers(0, 60))
def test_an_opening_and_the_rest_are_the_passage(text: str, characters: int) -> None:
    opening, rest = opened(text, characters)
    assert opening + rest == text
    assert len(opening) <= min(characters, len(text) // 2)


def test_what_is_given_is_read_and_not_learned(tmp_path: Path) -> None:
    path, model = write(tmp_path, "mine.jsonl", STORY), build()
    ((unopened,), (begun,)) = (whole(path, opening=size).examples(Split.train) for size in (0, 20))
    assert (begun.opening, begun.prompt) == ("Tom has 12 apples", ())
    assert (unopened.question, begun.question) == ("", begun.opening), "readers are shown it"
    prompt, learned = model.prompts.prompt_ids(begun), model.reference_ids(begun)
    bare = model.prompts.prompt_ids(unopened), model.reference_ids(unopened)
    assert (*prompt, *learned) == (*bare[0], *bare[1])
    assert model.tokenizer.decode(learned[:-1]) == begun.reference
    assert len(prompt) > 1


def test_a_run_without_an_opening_is_the_one_that_it_was() -> None:
    plain = Text(path="x")
    assert "opening" not in plain.earlier(asdict(plain))
    assert Text(path="x", opening=5).earlier({"opening": 5}) == {"opening": 5}
