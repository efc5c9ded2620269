"""Options beside overrides: one sentence for what none of them takes."""

import pytest

from ..conftest import CommandLine
from ..test_bad_input import said

REFUSED = [
    (["estimate", "--k", "nan"], "--k takes whole numbers", "--k 1,4,16"),
    (["estimate", "--k", "9" * 30], "--k takes numbers of at most 1000000"),
    (["estimate", "--draws", "1,,2"], "--draws takes whole numbers"),
    (["estimate", "--draws", "0"], "--draws takes numbers of at least 1"),
    (["estimate", "--repeats", "1"], "--repeats must be at least 2"),
    (["estimate", "--repeats", "1000000000000"], "--repeats must be at most 1000000"),
    (["show", "--verb", "x" * 300], "is unknown", "train, eval, undo"),
    (["report", "nowhere", "--split", "../.."], "--split ../.. is unknown", "validation"),
    (["report", "nowhere"], "nowhere"),
    (["report", "x" * 300], "xxx"),
    (["study", "fidelity", "--results", "nowhere"], "--results nowhere is not a folder"),
    (["study", "fidelity", "--results", ".", "--tau", "nan"], "--tau must be above 0"),
    (["study", "fidelity", "--results", ".", "--selection", "x"], "--selection is best or fixed"),
    (["study", "fidelity", "--results", "."], "."),
]


@pytest.mark.parametrize(
    ("typed", "words"),
    [pytest.param(typed, words, id=" ".join(typed)[:50]) for typed, *words in REFUSED],
)
def test_an_option_that_none_takes_is_one_sentence(
    typed: list[str], words: list[str], distillkit: CommandLine
) -> None:
    said(distillkit(*typed), *words)
