"""Policies: the shares are what was asked, and a draw depends on seed and step alone."""

import random

import pytest
import torch

from distillkit.core.errors import ConfigError
from distillkit.core.types import Author
from distillkit.policies.base import Policy
from distillkit.policies.fixed import OffPolicy, OnPolicy, SeqKD
from distillkit.policies.mixed import Draw, Mixed
from distillkit.policies.teacher_mixed import TeacherMixed

FIXED = {
    OffPolicy: Author.dataset,
    SeqKD: Author.teacher,
    OnPolicy: Author.student,
    TeacherMixed: Author.mixture,
}
STEPS = 1000

both_draws = pytest.mark.parametrize("draw", Draw)


def share(policy: Policy, *, steps: range = range(STEPS), count: int = 4, seed: int = 0) -> float:
    """Realised share of student rows."""
    rows = [
        author for step in steps for author in policy.authors(step, count, steps=STEPS, seed=seed)
    ]
    return rows.count(Author.student) / len(rows)


@pytest.mark.parametrize(("policy", "author"), FIXED.items())
def test_a_fixed_policy_has_one_author(policy: type[Policy], author: Author) -> None:
    assert policy().authors(3, 5, steps=9, seed=1) == [author] * 5
    assert policy().may_write() == {author}


@both_draws
@pytest.mark.parametrize("lmbda", [0.0, 1.0])
def test_a_lambda_of_0_or_1_is_exact(draw: Draw, lmbda: float) -> None:
    assert share(Mixed(lmbda=lmbda, draw=draw)) == lmbda


@both_draws
@pytest.mark.parametrize("lmbda", [0.3, 0.9])
def test_the_realised_share_is_near_lambda(draw: Draw, lmbda: float) -> None:
    """Four standard errors of the number of tosses."""
    tosses = STEPS if draw is Draw.batch else 4 * STEPS
    error = (lmbda * (1 - lmbda) / tosses) ** 0.5
    assert abs(share(Mixed(lmbda=lmbda, draw=draw)) - lmbda) < 4 * error


def test_one_coin_a_batch_never_mixes_a_batch_and_one_a_sequence_does() -> None:
    kinds = {
        draw: {
            len(set(Mixed(draw=draw).authors(step, 8, steps=STEPS, seed=0))) for step in range(50)
        }
        for draw in Draw
    }
    assert kinds[Draw.batch] == {1}
    assert 2 in kinds[Draw.sequence]


@both_draws
def test_the_draw_depends_on_seed_and_step_and_on_no_stream(draw: Draw) -> None:
    """A resumed run and another rank draw the same, whatever they drew before."""
    first = Mixed(draw=draw)
    expected = [first.authors(step, 6, steps=STEPS, seed=3) for step in range(40)]
    random.seed(99)
    torch.manual_seed(99)
    second = Mixed(draw=draw)
    backwards = [second.authors(step, 6, steps=STEPS, seed=3) for step in reversed(range(40))]
    assert backwards[::-1] == expected
    assert [second.authors(step, 6, steps=STEPS, seed=4) for step in range(40)] != expected


@both_draws
def test_lambda_runs_in_a_straight_line_to_its_end(draw: Draw) -> None:
    policy = Mixed(lmbda=0.0, lmbda_end=1.0, draw=draw)
    assert policy.share(0, STEPS) == 0
    assert policy.share(STEPS - 1, STEPS) == 1
    assert policy.share(STEPS // 4, STEPS) == pytest.approx(0.25, abs=1e-3)
    thirds = [share(policy, steps=range(start, start + 250)) for start in (0, 375, 750)]
    assert thirds[0] == pytest.approx(0.125, abs=0.08)
    assert thirds[1] == pytest.approx(0.5, abs=0.12)
    assert thirds[2] == pytest.approx(0.875, abs=0.08)


def test_lambda_can_fall_and_is_constant_without_an_end() -> None:
    assert Mixed(lmbda=0.8, lmbda_end=0.2).share(9, 10) == pytest.approx(0.2)
    assert {Mixed(lmbda=0.8).share(step, 10) for step in range(10)} == {0.8}
    assert Mixed(lmbda=0.8, lmbda_end=0.2).share(0, 1) == 0.8


def test_the_other_author_writes_the_rest() -> None:
    policy = Mixed(lmbda=0.5, otherwise=Author.teacher, draw=Draw.sequence)
    assert policy.may_write() == {Author.student, Author.teacher}
    rows = {author for step in range(9) for author in policy.authors(step, 8, steps=9, seed=0)}
    assert rows == {Author.student, Author.teacher}


@pytest.mark.parametrize("field", ["lmbda", "lmbda_end"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"policy\.{field}\)? must lie in \[0, 1\]"):
        Mixed(**{field: value})


def test_a_mixture_of_the_student_with_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"policy\.otherwise=student"):
        Mixed(otherwise=Author.student)


def test_a_coin_between_the_student_and_a_mixture_is_refused() -> None:
    """The coin has no share that the tokens could be mixed with."""
    with pytest.raises(ConfigError, match=r"policy\.otherwise=mixture .* policy=teacher_mixed"):
        Mixed(otherwise=Author.mixture)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_outside_0_to_1_is_refused_by_name(alpha: float) -> None:
    with pytest.raises(ConfigError, match=rf"policy\.alpha must lie in \[0, 1\], got {alpha}"):
        TeacherMixed(alpha=alpha)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_an_alpha_of_0_or_1_is_allowed(alpha: float) -> None:
    assert TeacherMixed(alpha=alpha).alpha == alpha
