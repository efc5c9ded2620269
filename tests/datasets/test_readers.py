"""Readers of answers: their rules one by one, what changes nothing, and texts that are traps."""

import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillkit.core.types import Split
from distillkit.datasets.answers import (
    last_letter,
    last_marked_number,
    last_number,
    last_words,
    last_yes_or_no,
    normalise_number,
)
from distillkit.datasets.answers.statements import Kind, boxes, problems, statements
from distillkit.datasets.answers.typography import plain
from distillkit.datasets.gsm8k import Gsm8k
from distillkit.datasets.math import Math
from tests.datasets.test_rows import DATA

letter = partial(last_letter, letters="ABCDE")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 70'000", "70000"),
        (r"#### 1\,234\,567", "1234567"),
        ("#### 12 345 678 people", "12345678"),
        ("#### -$5", "-5"),
        ("#### £3.20 for 4 kg", "3.2"),
        ("#### 2 1/4 cups", "2.25"),
        ("#### 1¾", "1.75"),
        (r"#### \frac{3}{4}", "0.75"),
        (r"#### 2\frac{1}{2} miles", "2.5"),
        ("#### **$1,080**", "1080"),
        ("#### １８", "18"),
        ("#### 2 * 3 + 4 = 6 + 4 = 10", "10"),
        ("#### 18 = 9 * 2", "18"),
        ("#### 5 apples + 3 apples = 8 apples", "8"),
        ("#### 15 gallons * 8 pints / gallon = 120 pints", "120"),
        ("#### 9 * 2 = <<9*2=18>>18", "18"),
        ("#### 20 + 5", None),  # No result is stated, and working it out is not reading.
        ("#### 18-20", None),
        ("#### between 18 and 20", None),
        ("#### 18 to 20", None),
        ("The answer is 18 or 20.", None),
        ("So she has 18 or 20.", None),
        ("#### 1/2 or 0.5", "0.5"),
        ("#### 50% or 0.5", "50"),
        ("The answer is not 17 but 18.", "18"),
        ("It is 18, not 20.", "18"),
        ("The final answer is: 18 dollars, after 3 steps.", "18"),
        ("Answer = 18. That took 2 steps.", "18"),
        ("The answer is x = 18, by step 3.", "18"),
        ("The answer to question 3 is 18.", "18"),
        ("The answer:\n\n18\n\nThat is all in 2 lines.", "18"),
        (r"\boxed{17} is wrong. The answer is 18. See 2.", "18"),
        (r"The answer is 17. No: \boxed{18}", "18"),
        (r"\boxed{\text{18 dollars}} in 2 weeks", "18"),
        ("#### Step 1: add\nIt is 15.\n#### Step 2: check\nIt is 18.", "18"),
        ("#### 1. Add\n3 + 15 = 18\n#### 2. Check\nIt is 18.", "18"),
        ("The third answer was 5.\nAltogether 18.", "18"),
        ("That is 2 points/answer = 4. So 18.", "18"),
        ("<think>The answer is 5.</think>\nThe answer is 18.", "18"),
        ("#### 18\n\nQuestion: What is 1 + 1?\n#### 2", "18"),
        ("#### 18\n\n**Problem 2:** What is 1 + 1?\n#### 2", "18"),
        ("Question: how many?\nAnswer: 18\n\nQuestion: 1 + 1?\nAnswer: 2", "18"),
        ("18\n<|im_start|>user\nWhat is 1 + 1?", "18"),
    ],
)
def test_the_number_that_is_stated_is_read(text: str, number: str | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is a.", "A"),
        ("The answer is a bank.", None),
        ("The answer must be a European city.", None),
        ("(c) store", "C"),
        ("b) library", "B"),
        ("Ｂ", "B"),
        ("The answer: [D]", "D"),
        (r"\boxed{\textbf{(D)}}", "D"),
        ("#### C", "C"),
        ("My choice is (B).", "B"),
        ("The correct option is: C", "C"),
        ("(B) is the correct answer, unlike (C).", "B"),
        ("A is not the right answer. So it is D.", "D"),
        ("The answer isn't B. It is (C).", "C"),
        ("Neither (A) nor (B). So (C).", "C"),
        ("Eliminating A, B and C, we have D.", "D"),
        ("(A) and (B) are wrong, and (C) cannot be. (D) remains.", "D"),
        ("(C) store does not make sense. (B) library does.", "B"),
        ("I chose D rather than (E).", "D"),
        ("The answer is A or B.", None),
        ("The answer is (A) and (C).", None),
        ("Either (A) or (B).", None),
        ("A/B", None),
        ("The answer is not B.", None),
        ("Answer: (A) bank (B) library (C) store (D) mall (E) park", None),
        ("A. bank\nB. library\nC. store\nD. mall\nE. park", None),
        ("(A) bank (B) library (C) store (D) mall (E) park\nThe answer is (C).", "C"),
        ("(A) bank (B) library (C) store (D) mall (E) park\nSo (C).", "C"),
        ("It is in Washington D.C. and not elsewhere.", None),
        ("The answer is (B). No, the answer is (C).", "C"),
        ("<think>Is it (A)?</think>(B)", "B"),
        ("(B)\n\nQ: Where do fish live?\nA: (A)", "B"),
    ],
)
def test_the_letter_that_is_settled_on_is_read(text: str, expected: str | None) -> None:
    assert letter(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The answer is most likely yes.", "yes"),
        ("The answer is a resounding no.", "no"),
        ("The answer is not true.", "no"),
        ("The answer is both yes and no.", None),
        ("The answer is yes or no.", None),
        ("Yes/No: yes", "yes"),
        ("The statement is false.", "no"),
        ("It is true that cows eat, but no.", "no"),
        ("No one knows, no evidence exists.", None),
        ("No, although many people say yes.", "no"),
        ("I would say yes.", "yes"),
        ("# Answer\n\n**No**", "no"),
        (r"\boxed{\text{Yes}}", "yes"),
        ("#### true", "yes"),
        ("yes\n\nQuestion: Can a cow fly?\nno", "yes"),
        ("Ｎｏ", "no"),
    ],
)
def test_the_yes_or_no_that_is_meant_is_read(text: str, said: str | None) -> None:
    assert last_yes_or_no(text) == said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Answer: Paris\nIt is the capital.", "paris"),
        ("The answer is Paris. It is the capital.", "paris"),
        ("The answer is St. Louis.", "st. louis"),
        ("The answer is Dr. No.", "dr. no"),
        ("The final answer is: `Paris`", "paris"),
        ('The answer is "Paris".', "paris"),
        (r"$\boxed{\text{Paris}}$", "paris"),
        ("Paris\n\nQuestion: of Italy?\nRome", "paris"),
        ("#### **Paris**\nThank you", "paris"),
        ("Answer:\n\nParis", "paris"),
    ],
)
def test_the_words_that_are_announced_are_read(text: str, words: str) -> None:
    assert last_words(text) == words


@given(
    st.integers(-(10**9), 10**9),
    st.sampled_from(["#### {}", "The answer is {}.", r"\boxed{{{}}}", "**Answer: {}**", "{}"]),
    st.sampled_from(["{}", "${}$", "**{}**", "`{}`", "{} eggs"]),
    st.sampled_from(["{}", "{:,}", "{}.00"]),
)
def test_a_number_is_read_however_it_is_announced_dressed_and_spelled(
    number: int, announced: str, dressed: str, spelled: str
) -> None:
    text = announced.format(dressed.format(spelled.format(number)))
    assert last_number(text) == str(number)
    assert last_number(f"Take 5 of 3.\n{text}\n\nQuestion: 1 + 1?\n#### 2") == str(number)


@given(
    st.sampled_from("ABCDE"),
    st.sampled_from(
        ["The answer is ({}).", "Answer: {}", r"\boxed{{{}}}", "({})", "{}", "#### {}"]
    ),
    st.sampled_from(["{}", "({}) is wrong. {}", "{}\n\nQuestion: and now?\nThe answer is ({})."]),
)
def test_a_letter_is_read_however_it_is_announced(right: str, announced: str, around: str) -> None:
    other = "B" if right == "A" else "A"
    text = announced.format(right)
    places = (text, other) if around.startswith("{}") else (other, text)
    assert letter(around.format(*places)) == right


@given(st.text())
def test_no_text_breaks_what_readers_share(text: str) -> None:
    assert plain(plain(text)) is not None
    assert all(part.strip() for part in problems(text))
    assert all(each.kind in Kind for each in statements(text))
    assert Math().extract(text) is None or Math().extract(text)


def test_boxes_close_where_they_were_opened() -> None:
    assert list(boxes(r"\boxed{1} \boxed{\{2\}} \boxed{\boxed{3}} {\boxed{4} \boxed{5")) == [
        (0, "1"),
        (10, r"\{2\}"),
        (31, "3"),
        (24, r"\boxed{3}"),
        (43, "4"),
    ]


TRAPS = [
    *("answer is ", "#### 1 + ", "A or ", "(A), ", "(A) and ", "1 ", "1,", "1 000 ", "{", "}"),
    *(r"\boxed{", r"\boxed{1}", "*a", "`", "\n", "Question:\n", " ", "no ", "yes, ", "people say "),
    *(
        "<think>",
        r"\frac{1}",
        r"\text{",
        "<<1",
        "9",
        "-",
        "1=",
        "A is not ",
        "the ",
        "½",
        "((",
        "#",
    ),
]
READERS = {
    "number": last_number,
    "marked": last_marked_number,
    "normal": normalise_number,
    "letter": letter,
    "yes or no": last_yes_or_no,
    "words": last_words,
    "math": Math().extract,
}


@pytest.mark.parametrize("name", READERS)
def test_a_text_of_a_hundred_thousand_characters_is_read_in_no_time(name: str) -> None:
    READERS[name]("The answer is 1.")
    for trap in TRAPS:
        for text in ((trap * 100_000)[:100_000], "answer is " + (trap * 100_000)[:100_000] + "!"):
            began = time.process_time()
            READERS[name](text)
            assert time.process_time() - began < 0.5, trap


def test_the_published_rationales_of_gsm8k_are_right_by_their_own_answers() -> None:
    if not (DATA / "gsm8k").is_dir():
        pytest.skip("the published rows are not here")
    dataset = Gsm8k(path=str(DATA / "gsm8k"))
    rows = dataset.source().rows(Split.test)
    examples = dataset.examples(Split.test)
    assert len(rows) == len(examples) == 1319
    for row, example in zip(rows, examples, strict=True):
        raw = row.text("rationale")
        answer = "" if "####" in raw else f"\n#### {row.text('answer')}"
        assert dataset.is_correct(example, raw + answer), row.id
