"""Numbers of a student's own text against brute force and exact enumeration."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from distillkit.core.types import Author, Response, Rollout
from distillkit.training.diagnostics import diagnose
from tests.tiny import example

ASKED = example("How many?", " 5")
END, LIMIT = 0, 3
STUDENT = {None: (0.2, 0.5, 0.3), 1: (0.1, 0.6, 0.3), 2: (0.45, 0.05, 0.5)}
"""Probability of each token of a vocabulary of three after the token before it."""
TEACHER = {None: (0.6, 0.3, 0.1), 1: (0.25, 0.25, 0.5), 2: (0.05, 0.9, 0.05)}


def row(tokens: tuple[int, ...], author: Author = Author.student, **given: object) -> Rollout:
    reward = given.pop("reward", None)
    return Rollout(
        ASKED, Response(tokens, author=author, **{"truncated": False, **given}), reward=reward
    )


def mixed(p: float, q: float) -> float:
    return 0.3 * p + 0.7 * q


def cooled(place: int | None, token: int) -> float:
    """The student's probability at temperature 0.5."""
    return STUDENT[place][token] ** 2 / sum(q**2 for q in STUDENT[place])


def everything(author: Author, drawing: dict[int | None, tuple[float, ...]]) -> Iterator[tuple]:
    """Every text of at most three tokens, with its probability and the places it was drawn at."""
    for length in range(1, LIMIT + 1):
        for tokens in itertools.product(range(3), repeat=length):
            ended = tokens[-1] == END
            if END in tokens[:-1] or not (ended or length == LIMIT):
                continue
            places = [None, *tokens[:-1]]
            drawn, ours, theirs = (
                tuple(table[place][token] for place, token in zip(places, tokens, strict=True))
                for table in (drawing, STUDENT, TEACHER)
            )
            yield (
                math.prod(drawn),
                places,
                row(
                    tokens,
                    author,
                    truncated=not ended,
                    log_probs=tuple(map(math.log, drawn)),
                    of_student=tuple(map(math.log, ours)),
                    of_teacher=tuple(map(math.log, theirs)),
                ),
            )


def entropy(place: int | None) -> float:
    return -sum(q * math.log(q) for q in STUDENT[place])


def reverse_kl(place: int | None) -> float:
    pairs = zip(TEACHER[place], STUDENT[place], strict=True)
    return sum(q * math.log(q / p) for p, q in pairs)


DRAWINGS = {
    "student": (Author.student, STUDENT),
    "mixture": (
        Author.mixture,
        {place: tuple(map(mixed, TEACHER[place], STUDENT[place])) for place in STUDENT},
    ),
    "cooled": (
        Author.student,
        {place: tuple(cooled(place, token) for token in range(3)) for place in STUDENT},
    ),
}


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_entropy_and_reverse_kl_are_unbiased_over_all_texts_that_can_be_drawn(drawing: str) -> None:
    total, found, expected = 0.0, Counter(), Counter()
    for chance, places, rollout in everything(*DRAWINGS[drawing]):
        total += chance
        numbers = diagnose([rollout])
        for name, exact in {"entropy": entropy, "reverse_kl": reverse_kl}.items():
            found[name] += chance * len(places) * numbers[name]
            expected[name] += chance * sum(map(exact, places))
    assert total == pytest.approx(1)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_mean_importance_weight_is_one_over_all_texts_that_can_be_drawn() -> None:
    found = length = 0.0
    for chance, places, rollout in everything(*DRAWINGS["mixture"]):
        found += chance * len(places) * diagnose([rollout])["importance_weight"]
        length += chance * len(places)
    assert found == pytest.approx(length, rel=1e-12)


@pytest.mark.parametrize("drawing", ["student", "cooled"])
def test_the_students_text_has_no_importance_weight(drawing: str) -> None:
    for _, _, rollout in everything(*DRAWINGS[drawing]):
        assert "importance_weight" not in diagnose([rollout])


def test_without_weights_a_mixtures_entropy_would_be_another() -> None:
    found = expected = 0.0
    for chance, places, rollout in everything(*DRAWINGS["mixture"]):
        found += chance * -sum(rollout.response.of_student)
        expected += chance * sum(map(entropy, places))
    assert found != pytest.approx(expected, rel=0.05)


def test_the_reverse_kl_of_every_single_text_is_not_negative() -> None:
    for author, drawing in DRAWINGS.values():
        assert all(diagnose([r])["reverse_kl"] >= 0 for _, _, r in everything(author, drawing))
    same = row((1, 2), of_student=(-0.3, -1.7), of_teacher=(-0.3, -1.7))
    assert diagnose([same])["reverse_kl"] == 0


def test_tokens_of_all_rows_count_alike() -> None:
    rollouts = [
        row((1, 0), of_student=(-1.0, -2.0), of_teacher=(-3.0, -4.0)),
        row((1, 2, 2, 2), truncated=True, of_student=(-0.5,) * 4, of_teacher=(-0.25,) * 4),
    ]
    numbers = diagnose(rollouts)
    assert numbers["entropy"] == pytest.approx((1 + 2 + 4 * 0.5) / 6)
    assert numbers["student_log_prob"] == pytest.approx(-(1 + 2 + 4 * 0.5) / 6)
    assert numbers["teacher_log_prob"] == pytest.approx(-(3 + 4 + 4 * 0.25) / 6)
    k3 = 2 * (math.exp(-2) - 1 + 2) + 4 * (math.exp(0.25) - 1 - 0.25)
    assert numbers["reverse_kl"] == pytest.approx(k3 / 6)
    assert numbers["response_length"] == 3
    assert numbers["end_share"] == pytest.approx(1 / 6)


def test_the_greatest_weight_is_of_one_token_of_all() -> None:
    rollouts = [
        row((1, 2), Author.mixture, log_probs=(-1.0, -2.0), of_student=(-0.9, -2.5)),
        row((1, 0), Author.mixture, log_probs=(-1.0, -2.0), of_student=(-1.3, -1.8)),
    ]
    numbers = diagnose(rollouts)
    weights = [math.exp(x) for x in (0.1, -0.5, -0.3, 0.2)]
    assert numbers["importance_weight"] == pytest.approx(sum(weights) / 4)
    assert numbers["importance_weight_max"] == pytest.approx(max(weights))


def repeated(tokens: tuple[int, ...]) -> tuple[int, int]:
    """How many positions begin four tokens that an earlier position began, and how many begin."""
    count = max(len(tokens) - 3, 0)
    again = sum(
        any(tokens[early : early + 4] == tokens[place : place + 4] for early in range(place))
        for place in range(count)
    )
    return again, count


@pytest.mark.parametrize("entries", [1, 2, 3, 50])
def test_repetition_is_the_share_of_four_grams_had_before_in_their_response(entries: int) -> None:
    chance = random.Random(entries)
    texts = [
        tuple(chance.randrange(entries) for _ in range(length)) for length in (1, 3, 4, 5, 20, 40)
    ]
    again, count = map(sum, zip(*map(repeated, texts), strict=True))
    assert diagnose([row(text) for text in texts])["repetition"] == pytest.approx(again / count)


def test_text_without_four_tokens_repeats_nothing() -> None:
    assert diagnose([row((1, 1, 1))])["repetition"] == 0


def test_the_same_response_twice_is_no_repetition() -> None:
    assert diagnose([row((1, 2, 3, 4, 5))] * 3)["repetition"] == 0


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_end_share_does_not_depend_on_the_length_limit(limit: int) -> None:
    """Each token ends its text with probability 1/4; texts as often as they are to be expected."""
    texts = [row((1,) * limit, truncated=True)] * 3**limit
    for length in range(1, limit + 1):
        texts += [row((1,) * length)] * (3 ** (length - 1) * 4 ** (limit - length))
    assert len(texts) == 4**limit
    assert diagnose(texts)["end_share"] == pytest.approx(1 / 4)


@pytest.mark.parametrize("nothing", [-1e30, -math.inf])
@pytest.mark.parametrize("side", ["of_teacher", "of_student"])
@pytest.mark.parametrize("author", [Author.student, Author.mixture])
def test_a_token_that_a_model_rules_out_leaves_all_numbers_finite(
    nothing: float, side: str, author: Author
) -> None:
    given = {
        "log_probs": (-0.5, -0.7, -0.1),
        "of_student": (-0.5, -0.6, -0.2),
        "of_teacher": (-0.4, -0.9, -0.1),
    }
    given[side] = (nothing, *given[side][1:])
    rollouts = [row((1, 2, 0), author, reward=1.0, **given), row((2,), author, reward=0.0)]
    numbers = diagnose(rollouts)
    assert {"entropy", "reverse_kl", "teacher_log_prob"} <= set(numbers)
    assert all(math.isfinite(value) for value in numbers.values())


def test_text_that_the_teacher_rules_out_shows_as_very_far_from_it() -> None:
    given = {"of_student": (-0.5, -0.6), "of_teacher": (-math.inf, -0.6)}
    numbers = diagnose([row((1, 0), **given)])
    assert numbers["teacher_log_prob"] == pytest.approx(-(100 + 0.6) / 2)
    assert numbers["reverse_kl"] == pytest.approx((100 - 0.5 - 1) / 2)


def test_a_token_the_student_rules_out_counts_for_nothing_in_its_entropy() -> None:
    given = {"log_probs": (-0.5, -0.7), "of_student": (-math.inf, -0.6), "of_teacher": (-0.4, -0.9)}
    numbers = diagnose([row((1, 0), Author.mixture, **given)])
    assert numbers["entropy"] == pytest.approx(math.exp(0.1) * 0.6 / 2)
    k3 = math.exp(-0.4 + 0.5) + math.exp(0.1) * (math.exp(-0.3) - 1 + 0.3)
    assert numbers["reverse_kl"] == pytest.approx(k3 / 2)


def test_rewards_that_rise_where_the_teacher_is_doubtful_show_below_zero() -> None:
    rewards, doubts = (0.0, 1.0, 0.5, 2.0), (-0.1, -1.2, -0.9, -1.3)
    rollouts = [
        row((1, 0), of_teacher=(doubt - 0.3, doubt + 0.3), reward=reward)
        for reward, doubt in zip(rewards, doubts, strict=True)
    ]
    numbers = diagnose(rollouts)
    x, y = sum(rewards) / 4, sum(doubts) / 4
    cross, xx, yy = (
        sum(terms)
        for terms in zip(
            *(
                ((a - x) * (b - y), (a - x) ** 2, (b - y) ** 2)
                for a, b in zip(rewards, doubts, strict=True)
            ),
            strict=True,
        )
    )
    assert numbers["reward"] == pytest.approx(x)
    assert numbers["reward_spread"] == pytest.approx(math.sqrt(xx / 4))
    assert numbers["reward_teacher_correlation"] == pytest.approx(cross / math.sqrt(xx * yy))
    assert numbers["reward_teacher_correlation"] < -0.8


@pytest.mark.parametrize(
    "rollouts",
    [
        [row((1, 0), of_teacher=(-1.0, -1.0), reward=1.0)],
        [row((1, 0), of_teacher=(-1.0, -x), reward=1.0) for x in (1, 2, 3)],
        [row((1, 0), of_teacher=(-1.0, -1.0), reward=x) for x in (1.0, 2.0, 3.0)],
        [row((1, 0), reward=x) for x in (1.0, 2.0)],
    ],
)
def test_a_correlation_that_is_undefined_is_left_out(rollouts: list[Rollout]) -> None:
    numbers = diagnose(rollouts)
    assert "reward" in numbers
    assert "reward_teacher_correlation" not in numbers


def test_text_of_the_dataset_and_the_teacher_is_left_out() -> None:
    own = [row((1, 2, 0), of_student=(-0.3, -0.2, -0.1), reward=1.0)]
    given = {"log_probs": (-9.0, -9.0), "of_student": (-8.0, -8.0), "of_teacher": (-7.0, -7.0)}
    others = [row((5, 5), who, reward=0.0, **given) for who in (Author.dataset, Author.teacher)]
    assert diagnose(others) == {}
    assert diagnose([]) == {}
    assert diagnose([*others, *own]) == diagnose(own)


def test_numbers_without_ingredients_are_left_out() -> None:
    text = {"response_length", "repetition", "end_share"}
    assert set(diagnose([row((1, 2, 0))])) == text
    assert set(diagnose([row((1, 2), of_student=(-1.0, -1.0))])) == {
        *text,
        "entropy",
        "student_log_prob",
    }
    unknown = row((1, 2), Author.mixture, of_student=(-1.0, -1.0), of_teacher=(-1.0, -1.0))
    assert set(diagnose([unknown])) == {*text, "student_log_prob", "teacher_log_prob"}


def test_all_numbers_are_plain_floats() -> None:
    rollouts = [r for _, _, r in everything(*DRAWINGS["mixture"])]
    rollouts += [row((1, 0), of_teacher=(-1.0, -x), reward=x) for x in (1.0, 2.0)]
    numbers = diagnose(rollouts)
    assert len(numbers) == 12
    assert {type(value) for value in numbers.values()} == {float}
