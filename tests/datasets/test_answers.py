"""Final answers are read as a careful person would read them, or not at all."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillkit.datasets.answers import (
    last_letter,
    last_marked_number,
    last_number,
    last_words,
    last_yes_or_no,
    normalise_number,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", "42"),
        ("42.", None),
        ("42.0", "42"),
        ("1,200", "1200"),
        ("$1,200.50", "1200.5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("−7", "-7"),
        ("-0", "0"),
        ("007", "7"),
        (".5", "0.5"),
        ("0.10", "0.1"),
        ("1/2", "0.5"),
        ("2/6", "1/3"),
        ("6/2", "3"),
        ("1.2e3", "1200"),
        ("1/0", None),
        ("1,2", None),
        ("four", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_equal_numbers_get_one_spelling(text, number):
    assert normalise_number(text) == number


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_thousands_commas_and_trailing_zeros_do_not_change_a_whole_number(number):
    assert normalise_number(f"{number:,}") == normalise_number(f"{number}.00") == str(number)


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=4))
def test_decimals_keep_their_value(number):
    assert Fraction(normalise_number(f"{number:f}")) == Fraction(number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12 + 30 = 42\n#### 42", "42"),
        ("####42", "42"),
        ("#### $1,080.", "1080"),
        ("#### **-3**", "-3"),
        ("#### 5 apples", "5"),
        ("#### 5\nno, #### 6", "6"),
        ("#### 5\n#### ", None),
        ("####\n1 + 2", None),
        ("The answer is 42.", None),
        ("", None),
    ],
)
def test_marked_number_is_the_one_right_after_the_last_mark(text, number):
    assert last_marked_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", "42"),
        ("The answer is $42.50.", "42.5"),
        ("so 1,200, all told", "1200"),
        ("It costs 1,200.", "1200"),
        ("10-3", "3"),
        ("(4+1)-3", "3"),
        ("10 - 3", "3"),
        ("10 - 13 = -3", "-3"),
        ("it fell to -3 degrees", "-3"),
        ("on 2020-05-03", "3"),
        ("1,2,3", "3"),
        ("section No.5", "5"),
        ("3/4 of it", "0.75"),
        ("18cm", "18"),
        ("50%", "50"),
        (r"\boxed{42}", "42"),
        ("#### 7\nThat took 2 steps.", "7"),
        ("first 5, then 6", "6"),
        ("no number at all", None),
        ("stuck on 1" + "1" * 6000, None),
    ],
)
def test_last_number_is_read_with_its_sign_and_without_its_surroundings(text, number):
    assert last_number(text) == number


@given(st.text())
def test_no_text_breaks_a_reader(text):
    for read in (last_marked_number, last_number, last_yes_or_no, last_words, normalise_number):
        assert read(text) is None or read(text)
    assert last_letter(text, "ABCDE") in (None, *"ABCDE")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is (B).", "B"),
        ("The answer is B", "B"),
        ("the correct answer is: **C**", "C"),
        ("Answer: D", "D"),
        ("The answer is option E.", "E"),
        (r"The answer is \boxed{C}", "C"),
        ("The answer is (B). A good choice.", "B"),
        ("The answer is (B). Neither (A) nor (C) would do.", "B"),
        ("The answer is (B). No, the answer is (C).", "C"),
        ("(A) will not do, (D) will.", "D"),
        ("A", "A"),
        ("B.", "B"),
        ("A is right", "A"),
        ("It must be C, a place to swim.", "C"),
        ("A bank needs security.", None),
        ("E-mail and D'Artagnan", None),
        ("The answer is (F).", None),
        ("the answer is (b)", "B"),
        ("BANK", None),
        ("", None),
    ],
)
def test_letter_is_the_announced_one_and_never_an_article(text, letter):
    assert last_letter(text, "ABCDE") == letter


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The answer is yes.", "yes"),
        ("So the answer is No", "no"),
        ("Answer: **yes**", "yes"),
        ("Yes.", "yes"),
        ("No, it is not.", "no"),
        ("Yes, there is no doubt about it.", "yes"),
        ("The answer is yes, though some say no.", "yes"),
        ("yes... no.", "no"),
        ("There is no evidence.", None),
        ("Yesterday I noted nothing.", None),
        ("", None),
    ],
)
def test_yes_or_no_is_the_last_one_that_was_meant(text, said):
    assert last_yes_or_no(text) == said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Paris", "paris"),
        ("It is on the Seine.\nThe answer is  Paris.\n\n", "paris"),
        ("Answer: the Eiffel  Tower!", "the eiffel tower"),
        ("thinking\n#### Paris\nThank you", "paris"),
        ("####", None),
        (" \n ", None),
    ],
)
def test_words_are_the_last_line_without_its_announcement(text, words):
    assert last_words(text) == words
