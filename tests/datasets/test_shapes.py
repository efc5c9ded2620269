"""Rows in the shapes that people write: pairs, Alpaca's, and chats of OpenAI's and ShareGPT's."""

import json
from pathlib import Path
from typing import Any

import pytest

from distillkit.compose import compose
from distillkit.core.errors import DataError
from distillkit.core.fingerprint import fingerprint_of
from distillkit.core.types import Example, Message, Split
from distillkit.datasets.jsonl import LATER, JsonLines, Unusable

QUESTION = (Message("user", "1 + 1?"),)
USER = {"role": "user", "content": "1 + 1?"}
TWO = {"role": "assistant", "content": "2"}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add"}}]}
IMAGE = {"type": "image_url", "image_url": {"url": "x.png"}}
HUMAN, GPT = {"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "2"}


def dataset(folder: Path, *rows: dict[str, Any], **settings: Any) -> JsonLines:
    """The rows as a file of training rows."""
    (folder / "mine.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return JsonLines(path=str(folder / "mine.jsonl"), validation_share=0, **settings)


def only(folder: Path, row: dict[str, Any], **settings: Any) -> Example:
    """The example of a file of one row."""
    (example,) = dataset(folder, row, **settings).examples(Split.train)
    return example


PLAIN = [
    {"prompt": "1 + 1?", "response": "2"},
    {"prompt": "1 + 1?", "completion": "2"},
    {"prompt": [USER], "completion": [TWO]},
    {"prompt": [USER], "response": "2"},
    {"prompt": "1 + 1?", "completion": [TWO]},
    {"instruction": "1 + 1?", "input": "", "output": "2"},
    {"instruction": "1 + 1?", "output": "2", "input": None},
    {"instruction": "1 + 1?", "response": "2"},
    {"messages": [USER, TWO]},
    {"messages": [HUMAN, GPT]},
    {"conversations": [HUMAN, GPT]},
    {"conversations": [USER, TWO], "messages": None, "prompt": None},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]}, TWO]},
    {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "2"}]}]},
    {"messages": [USER, {**TWO, "tool_calls": [], "function_call": None}]},
]


@pytest.mark.parametrize("row", PLAIN, ids=json.dumps)
def test_every_shape_gives_the_same_example(row: dict[str, Any], tmp_path: Path) -> None:
    found = only(tmp_path, row)
    assert (found.prompt, found.reference, found.alternatives) == (QUESTION, "2", ())


def test_an_input_stands_under_its_instruction_whatever_the_fields_are_called(
    tmp_path: Path,
) -> None:
    prompt = (Message("user", "Add one.\n\n3", "3"),)
    row = {"instruction": "Add one.", "input": "3", "output": "4"}
    named = {"prompt_field": "instruction", "response_field": "output"}
    for settings in ({}, named, {**named, "input_field": "input"}):
        assert only(tmp_path, row, **settings).prompt == prompt
    renamed = {"prompt": "Add one.", "context": 3, "response": "4"}
    assert only(tmp_path, renamed, input_field="context").prompt == prompt
    left_out = only(tmp_path, row, **named, input_field=None)
    assert left_out.prompt == (Message("user", "Add one."),)


def test_a_field_that_is_the_prompt_is_not_its_input_too(tmp_path: Path) -> None:
    row = {"input": "1 + 1?", "output": "2"}
    found = only(tmp_path, row, prompt_field="input", response_field="output")
    assert (found.prompt, found.reference) == (QUESTION, "2")


def test_system_messages_and_earlier_turns_belong_to_the_prompt(tmp_path: Path) -> None:
    earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    expected = tuple(Message(turn["role"], turn["content"]) for turn in [SYSTEM, *earlier, USER])
    shared = [
        {"from": who, "value": turn["content"]}
        for who, turn in zip(
            ("system", "human", "gpt", "human"), [SYSTEM, *earlier, USER], strict=True
        )
    ]
    for row in (
        {"messages": [SYSTEM, *earlier, USER, TWO]},
        {"prompt": [SYSTEM, *earlier, USER], "completion": [TWO]},
        {"conversations": [*shared, GPT]},
    ):
        found = only(tmp_path, row)
        assert (found.prompt, found.reference) == (expected, "2")


def test_texts_of_several_parts_are_lines(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Add."}, {"type": "text", "text": "1 + 1?"}]
    found = only(tmp_path, {"messages": [{"role": "user", "content": parts}, TWO]})
    assert found.question == "Add.\n1 + 1?"


def test_the_first_of_several_answers_is_the_reference(tmp_path: Path) -> None:
    found = only(tmp_path, {"prompt": "1 + 1?", "response": ["2", "two"]})
    assert (found.reference, found.alternatives) == ("2", ("two",))
    blank = {"prompt": "1 + 1?", "response": ["2", " "]}
    assert only(tmp_path, blank).alternatives == ()
    both = {"prompt": "1 + 1?", "response": ["2", "two"], "more": ["II"]}
    assert only(tmp_path, both, references_field="more").alternatives == ("two", "II")


BLANK = [
    *({"prompt": "?", "response": value} for value in (None, "", " \n", float("nan"))),
    {"prompt": "?", "response": float("-inf")},
    {"prompt": "?", "response": [" "]},
    {"prompt": "?", "completion": None},
    {"instruction": "?", "output": ""},
    {"messages": [USER]},
    {"messages": [USER, {"role": "assistant", "content": " "}]},
    {"conversations": [HUMAN]},
    {"prompt": [USER], "completion": [{"role": "assistant", "content": ""}]},
]


@pytest.mark.parametrize("row", BLANK, ids=json.dumps)
def test_an_answer_that_says_nothing_is_none(row: dict[str, Any], tmp_path: Path) -> None:
    assert only(tmp_path, row).reference == ""


@pytest.mark.parametrize(
    ("value", "text"), [("None", "None"), ("nan", "nan"), (1.0, "1.0"), (1e3, "1000.0"), (7, "7")]
)
def test_words_and_numbers_are_answers_as_they_stand(
    value: object, text: str, tmp_path: Path
) -> None:
    assert only(tmp_path, {"prompt": "?", "response": value}).reference == text


REFUSED = [
    ({"prompt": "?"}, "has no response"),
    ({"prompt": None, "response": "!"}, "has no prompt", "its fields are prompt, response"),
    ({"prompt": float("nan"), "response": "!"}, "has no prompt"),
    ({"prompt": "", "response": "!"}, "has an empty prompt"),
    ({"prompt": ["a"], "response": "!"}, "the message 'a'"),
    ({"prompt": [], "response": "!"}, "no question of the user's at the end of prompt"),
    ({"prompt": [USER, TWO], "response": "!"}, "no question of the user's at the end of prompt"),
    ({"prompt": [USER], "input": "3", "response": "!"}, "dataset.input_field=null"),
    ({"prompt": "?", "input": {"a": 1}, "response": "!"}, "has input={'a': 1}"),
    ({"prompt": "?", "response": True}, "has response=True, which is not text"),
    ({"prompt": "?", "response": {"text": "!"}}, "which is not text"),
    ({"prompt": "?", "response": [TWO, TWO]}, "neither one message of the assistant's nor a list"),
    ({"prompt": "?", "response": [USER]}, "neither one message of the assistant's nor a list"),
    ({"prompt": "?", "response": []}, "neither one message of the assistant's nor a list"),
    ({"prompt": "?", "chosen": "!", "rejected": "?"}, "has no response"),
    ({"instruction": "?", "answer": "!"}, "taken for Alpaca's", "has no response"),
    ({"question": "?", "answer": "!"}, "its fields are question, answer", "dataset.prompt_field"),
    ({}, "its fields are none at all"),
    ({"messages": "[]"}, "has no list of messages in messages, but messages='[]'"),
    ({"messages": []}, "no question of the user's at the end of messages"),
    ({"messages": [TWO]}, "no question of the user's at the end of messages"),
    ({"messages": [{"role": "user"}, TWO]}, "lacks a role or a content", "dataset.unusable=skip"),
    ({"messages": [{"content": "?"}, TWO]}, "lacks a role or a content"),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, "lacks a role or a content"),
    ({"messages": [USER, CALL]}, "of the role assistant that calls tools", "dataset.unusable=skip"),
    ({"messages": [USER, CALL, {"role": "tool", "content": "2"}, TWO]}, "that calls tools"),
    ({"messages": [{"role": "tool", "content": "2"}, USER, TWO]}, "of the role tool"),
    ({"conversations": [{"from": "observation", "value": "2"}, HUMAN, GPT]}, "role observation"),
    ({"messages": [{"role": "user", "content": [IMAGE]}, TWO]}, "type image_url", "role user"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "type input_audio"),
]


@pytest.mark.parametrize(("row", "words"), [(row, words) for row, *words in REFUSED])
def test_a_row_of_no_shape_is_named_with_its_file_and_place(
    row: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    data = dataset(tmp_path, {"prompt": "1 + 1?", "response": "2"}, row)
    with pytest.raises(DataError) as error:
        data.examples(Split.train)
    said = str(error.value)
    assert "row mine-00001 " in said
    assert "(mine.jsonl:2)" in said
    assert "\n" not in said
    for word in words:
        assert word in said


def test_a_long_value_is_shortened_in_the_sentence(tmp_path: Path) -> None:
    row = {"prompt": "?", "response": {"x" * 9999: ["y" * 9999] * 9999}}
    with pytest.raises(DataError) as error:
        only(tmp_path, row)
    assert len(str(error.value)) < 600


def test_rows_that_cannot_be_used_are_skipped_and_counted_if_so_asked(tmp_path: Path) -> None:
    rows = [{"messages": [USER, TWO]}, {"messages": [USER, CALL]}, {"messages": [{"role": "user"}]}]
    data = dataset(tmp_path, *rows, unusable=Unusable.skip)
    gathered = data.gather([Split.train])
    assert [each.id for each in gathered.examples[Split.train]] == ["mine-00000"]
    (remark,) = gathered.remarks
    assert "leaves out 2 of 3 train rows" in remark.what
    assert "row mine-00001 has a message of the role assistant that calls tools" in remark.what
    with pytest.raises(DataError, match="none of the 2 train rows can be used"):
        dataset(tmp_path, *rows[1:], unusable=Unusable.skip).examples(Split.train)


def remarks(folder: Path, *rows: dict[str, Any], **settings: Any) -> str:
    """All that is said of the rows."""
    gathered = dataset(folder, *rows, **settings).gather([Split.train])
    return " | ".join(remark.sentence() for remark in gathered.remarks)


def test_fields_that_nothing_reads_are_named_and_counted(tmp_path: Path) -> None:
    row = {"id": 1, "prompt": "a", "response": "b", "system": "c", "score": 0, "gone": None}
    other = {"prompt": "d", "response": "e", "score": 1, "answer": "f", "refs": ["g"]}
    said = remarks(tmp_path, row, other, answer_field=None, references_field=None)
    assert "score (in 2 of 2), system (in 1 of 2)" in said
    assert "answer (in 1 of 2), refs (in 1 of 2)" in said
    assert "gone" not in said
    assert "prompt" not in said.split("Name")[0].replace("prompts", "")
    chat = {"messages": [USER, {**TWO, "weight": 0, "name": None}]}
    assert "messages.weight (in 1 of 2)" in remarks(
        tmp_path, chat, {"prompt": "a", "response": "b"}
    )
    assert remarks(tmp_path, {"messages": [USER, TWO]}) == ""


def test_prompts_that_are_all_alike_are_counted(tmp_path: Path) -> None:
    rows = [{"instruction": "Add.", "input": str(n), "output": str(n)} for n in range(40)]
    alike = remarks(tmp_path, *rows, input_field=None)
    assert "40 training examples ask only 1 distinct prompts" in alike
    assert "input (in 40 of 40)" in alike
    assert remarks(tmp_path, *rows) == ""
    seldom = [*rows, *({**row, "output": "?"} for row in rows[:5])]
    assert remarks(tmp_path, *seldom) == ""


@pytest.mark.parametrize(
    ("preset", "rows"),
    [
        ("chat", [{"messages": [USER, TWO]}, {"conversations": [HUMAN, GPT]}]),
        ("alpaca", [{"instruction": "1 + 1?", "input": "", "output": "2"}]),
    ],
)
def test_presets_read_the_kind_of_rows_that_they_are_called_after(
    preset: str, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = dataset(tmp_path, *rows).path
    typed = [f"dataset={preset}", f"dataset.path={path}", "dataset.validation_share=0"]
    found = compose("train", typed).run.dataset.examples(Split.train)
    assert {(each.prompt, each.reference) for each in found} == {(QUESTION, "2")}


def test_fields_that_came_later_leave_a_runs_fingerprint_as_it_was() -> None:
    typed = ["dataset=jsonl", "dataset.path=rows.jsonl"]
    composed = compose("train", typed)
    before = {k: v for k, v in composed.config["dataset"].items() if k not in {*LATER, "labelled"}}
    assert composed.run.dataset.earlier(composed.config["dataset"]) == before
    assert before["messages_field"] is None
    assert fingerprint_of(composed.run, {**composed.config, "dataset": before}) == (
        composed.fingerprint
    )
    for later in ("dataset.input_field=null", "dataset.unusable=skip"):
        assert compose("train", [*typed, later]).fingerprint != composed.fingerprint
