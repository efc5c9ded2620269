"""Several datasets as one: order, shares, ids, tags, and the judge that each example came with."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Author, Example, Response, Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.datasets.faults import Fault, fault_of
from distillkit.datasets.jsonl import JsonLines
from distillkit.datasets.judging import answered
from distillkit.datasets.maze import Maze
from distillkit.datasets.mixed import Mixed, shared_out, spread
from distillkit.datasets.text import Text
from distillkit.datasets.wording import Domain
from tests.tiny import build

SIZES = {"train": 40, "validation": 6, "test": 8}
JOURNEY = Arithmetic(domain=Domain.journey, train=20, validation=6, test=8)
MIXED = Mixed(parts={"market": Arithmetic(**SIZES), "journey": JOURNEY, "maze": Maze(train=10)})


def parts_of(examples: list[Example]) -> Counter[str | None]:
    return Counter(example.tag("part") for example in examples)


def test_every_example_of_every_part_is_there_once_and_the_order_is_fixed() -> None:
    every = MIXED.read(list(Split)).examples
    ids = [example.id for split in Split for example in every[split]]
    assert len(set(ids)) == len(ids)
    assert parts_of([*every[Split.train]]) == {"market": 40, "journey": 20, "maze": 10}
    assert every[Split.train] == MIXED.examples(Split.train)
    questions = [{example.question for example in every[split]} for split in Split]
    assert (
        not questions[0] & questions[1] | questions[0] & questions[2] | questions[1] & questions[2]
    )


def test_any_beginning_holds_of_each_part_what_its_share_is() -> None:
    order = [name for name, _ in spread({"a": 40, "b": 20, "c": 10})]
    for length in range(1, 71):
        found = Counter(order[:length])
        for name, share in {"a": 4 / 7, "b": 2 / 7, "c": 1 / 7}.items():
            assert abs(found[name] - share * length) <= 1


def test_shares_take_as_much_as_the_scarcest_part_allows() -> None:
    assert shared_out({"a": 100, "b": 30}, {"a": 1, "b": 1}) == {"a": 30, "b": 30}
    assert shared_out({"a": 100, "b": 30}, {"a": 3, "b": 1}) == {"a": 90, "b": 30}
    shared = replace(MIXED, shares={"market": 1, "journey": 2, "maze": 1})
    assert parts_of([*shared.examples(Split.train)]) == {"market": 10, "journey": 20, "maze": 10}


def test_an_example_keeps_what_it_was_and_is_named_after_its_part() -> None:
    first = next(e for e in MIXED.examples(Split.test) if e.tag("part") == "journey")
    own = JOURNEY.examples(Split.test)[0]
    assert first.id == f"journey/{own.id}"
    assert replace(first, id=own.id, tags=own.tags) == own
    assert (own.tag("domain"), first.tag("domain"), first.tag("colour")) == (
        "journey",
        "journey",
        None,
    )


def test_each_answer_is_judged_and_read_by_the_part_of_its_example() -> None:
    writer = build()
    for example in MIXED.examples(Split.test):
        assert MIXED.is_correct(example, example.reference)
        other = "#### 0" if example.tag("part") != "maze" else "00 00"
        assert not MIXED.is_correct(example, other)
        ids = writer.prompts.text_ids(example.reference)
        written = Response(ids, truncated=False, author=Author.student)
        said = answered(example, written, writer.tokenizer, judge=MIXED, extract=True)
        assert said.correct
        assert said.stated == example.answer
        assert MIXED.stated(example, "no answer") is None
        assert fault_of(MIXED, example, "no answer") is Fault.unparsable
    # A number alone is where a walk ends, and no answer to a word problem.
    market, maze = (
        next(e for e in MIXED.examples(Split.test) if e.tag("part") == name)
        for name in ("market", "maze")
    )
    assert (MIXED.stated(market, "12"), MIXED.stated(maze, "12")) == (None, "12")


def test_a_mixture_of_mixtures_is_judged_as_its_parts_are() -> None:
    outer = Mixed(parts={"all": MIXED, "more": Maze(seed=3)}, test=12)
    examples = outer.examples(Split.test)
    assert len(examples) == 12
    assert all(outer.is_correct(example, example.reference) for example in examples)
    assert parts_of([*examples]).keys() == {"all", "more"}


def test_rows_carry_the_fields_that_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"prompt": "1+1?", "response": "2", "subject": "sums", "level": 3}\n'
        '{"prompt": "Who?", "response": "Ada", "level": null}\n'
    )
    plain = JsonLines(path=str(file), validation_share=0)
    assert [example.tags for example in plain.examples(Split.train)] == [(), ()]
    tagged = replace(plain, tags=["subject", "level"])
    read = tagged.read([Split.train])
    first, second = read.examples[Split.train]
    assert (first.tag("subject"), first.tag("level"), second.tags) == ("sums", "3", ())
    assert any("not read" in remark.what for remark in plain.read([Split.train]).remarks)
    assert not any("not read" in remark.what for remark in read.remarks)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"parts": {}}, "dataset=mixed has no parts"),
        ({"shares": {"market": 1.0}}, "dataset.shares names market, and the parts are market, jo"),
        ({"shares": {"market": 0, "journey": 1, "maze": 1}}, "dataset.shares.market=0 must be abo"),
        ({"parts": {"a/b": Maze()}}, "dataset.parts.a/b: a name may hold no /"),
        ({"parts": {"a": Maze(labelled=3)}}, "dataset.parts.a.labelled=3 has no effect"),
        ({"test": 0}, "dataset.test=0 must be at least 1"),
    ],
)
def test_settings_that_make_no_mixture_are_refused(asked: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(MIXED, **asked)


def test_a_part_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = Mixed(parts={"mine": JsonLines(path=str(tmp_path / "none.jsonl"))})
    with pytest.raises(DataError, match=r"^dataset.parts.mine: dataset.path=.*none.jsonl"):
        broken.examples(Split.train)


def test_questions_and_running_text_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "Once."}\n' * 4)
    both = Mixed(
        parts={
            "asks": Maze(train=4),
            "tells": Text(path=str(tmp_path / "text.jsonl"), validation_share=0),
        }
    )
    with pytest.raises(DataError, match="dataset.parts mixes questions and running text"):
        both.examples(Split.train)
