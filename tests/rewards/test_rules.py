"""Rewards that are rules: right answers, likeness to a reference, length; and the check of all."""

from math import inf, nan
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Answer, Split
from distillkit.datasets.arithmetic import Arithmetic
from distillkit.rewards.base import Reward, finite
from distillkit.rewards.correct import Correct
from distillkit.rewards.length import LengthReward, nearness
from distillkit.rewards.rouge import RougeReward
from tests.rewards.judged import CPU, answer, rewards, rows

Rows = list[dict[str, object]]
REFERENCE = "The cats were running quickly through the old garden, and then they slept."
OTHER = "A dog barked."
TEXTS = ("A cat ran quickly through the garden; it slept there.", "", REFERENCE, "A dog barks")


def test_a_right_final_answer_is_worth_one_and_any_other_text_nothing(tmp_path: Path) -> None:
    dataset = rows(tmp_path, {"answer": 42})
    texts = ["So it is 1.\n#### 42", "#### 41", "no number", "42.0", ""]
    judged = [answer(text, final="42") for text in texts]
    assert rewards(Correct(), dataset, *judged) == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_each_answer_is_judged_by_its_own_example() -> None:
    dataset = Arithmetic()
    examples = dataset.examples(Split.train)[:20]
    assert len({example.answer for example in examples}) > 5
    shifted = [*examples[1:], examples[0]]
    own = [Answer(example, example.reference, (0,) * 9, False) for example in examples]
    anothers = [
        Answer(one, two.reference, (0,) * 9, False)
        for one, two in zip(examples, shifted, strict=True)
    ]
    judge = Correct().judge(dataset, device=CPU)
    assert judge(own) == [1.0] * 20
    expected = [float(one.answer == two.answer) for one, two in zip(examples, shifted, strict=True)]
    assert judge(anothers) == expected
    assert 0.0 in expected


def test_rouge_is_the_librarys_stemmed_f1_of_the_best_reference(tmp_path: Path) -> None:
    library = RougeScorer(["rougeL"], use_stemmer=True)
    expected = [
        max(library.score(reference, text)["rougeL"].fmeasure for reference in (REFERENCE, OTHER))
        for text in TEXTS
    ]
    dataset = rows(tmp_path, {"response": REFERENCE, "others": [OTHER]})
    judged = [answer(text, reference=REFERENCE, others=(OTHER,)) for text in TEXTS]
    found = rewards(RougeReward(), dataset, *judged)
    assert found == pytest.approx(expected)
    assert found[1:3] == [0.0, 1.0]
    assert 0 < found[0] < 1
    assert found[3] == pytest.approx(1.0)  # stemmed, and the other reference


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0.0), (1, 0.1), (5, 0.5), (10, 1.0), (20, 0.5), (100, 0.1)]
)
@pytest.mark.parametrize("truncated", [False, True])
def test_a_length_is_worth_its_ratio_to_the_target(
    tmp_path: Path, tokens: int, expected: float, truncated: bool
) -> None:
    judged = answer("many words or few", tokens=tokens, truncated=truncated)
    found = rewards(LengthReward(target=10), rows(tmp_path, {"answer": 1}), judged)
    assert found == [pytest.approx(expected)]


@pytest.mark.parametrize("target", [1, 2, 7, 50])
def test_every_step_towards_the_target_is_worth_something(target: int) -> None:
    values = [nearness(length, target) for length in range(4 * target)]
    below, above = values[: target + 1], values[target:]
    assert below == sorted(set(below))
    assert above == sorted(set(above), reverse=True)
    assert (values[0], values[target]) == (0, 1)


def test_without_a_target_the_nearest_reference_gives_the_length_in_words(tmp_path: Path) -> None:
    dataset = rows(tmp_path, {"response": REFERENCE, "others": [OTHER]})
    texts = ["", "one", "a b c d e f", " ".join("w" * 26), "  three\nwords  here "]
    judged = [answer(text, reference=REFERENCE, others=(OTHER,), tokens=3) for text in texts]
    expected = [0, 1 / 3, 1 / 2, 1 / 2, 1]  # of 3 and 13 words
    assert rewards(LengthReward(), dataset, *judged) == pytest.approx(expected)


@pytest.mark.parametrize("target", [0, -3])
def test_a_target_that_no_response_can_have_is_refused(target: int) -> None:
    with pytest.raises(ConfigError, match=rf"reward\.target={target} must be at least 1, or null"):
        LengthReward(target=target)


ANSWERED, REFERENCED, BARE = {"answer": 1}, {"response": "r"}, {"response": "", "id": "bare"}
LACKS = (
    (Correct(), [ANSWERED], [BARE], "no final answer, so reward=correct .* Use reward=rouge"),
    (RougeReward(), [REFERENCED], [REFERENCED, BARE], "no reference .* Use reward=correct"),
    (LengthReward(), [REFERENCED], [REFERENCED, BARE], "no reference .* Use reward.target=<tok"),
)
"""A reward, rows that it can judge, rows of which it cannot, and what it says of that."""


@pytest.mark.parametrize(("reward", "_", "lacking", "words"), LACKS)
def test_a_dataset_that_cannot_be_judged_is_refused_before_anything_is_written(
    tmp_path: Path, reward: Reward, _: Rows, lacking: Rows, words: str
) -> None:
    with pytest.raises(DataError, match=f"^dataset=jsonl: the example bare has {words}"):
        reward.judge(rows(tmp_path, *lacking), device=CPU)


@pytest.mark.parametrize(("reward", "fit", "_", "words"), LACKS)
def test_an_example_from_elsewhere_that_cannot_be_judged_is_refused_too(
    tmp_path: Path, reward: Reward, fit: Rows, _: Rows, words: str
) -> None:
    judge = reward.judge(rows(tmp_path, *fit), device=CPU)
    known = answer("x", reference="r", final="1")
    with pytest.raises(DataError, match=f"^dataset=jsonl: the example bare has {words}"):
        judge([known, answer("x", name="bare")])


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_reward_that_is_no_finite_number_is_named_with_its_example(value: float) -> None:
    judged = [answer("fine", name="first"), answer("a bad response", name="second")]
    assert finite([1, -2.5], judged, source="reward=mine") == [1, -2.5]
    words = rf"^reward=mine gave {value} for the example second and the response 'a bad response'"
    with pytest.raises(DataError, match=words):
        finite([0.0, value], judged, source="reward=mine")
