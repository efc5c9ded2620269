"""Supervised fine-tuning: cross-entropy on somebody else's text, and only on that."""

import numpy as np
import pytest

from distillkit.core.errors import ConfigError
from distillkit.core.types import Author
from distillkit.models.likelihood import total_nll
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.sft import SFT
from distillkit.policies.base import Policy
from distillkit.policies.fixed import OffPolicy, OnPolicy, SeqKD
from distillkit.policies.mixed import Mixed
from distillkit.policies.teacher_mixed import TeacherMixed
from tests.divergences.oracle import probabilities
from tests.objectives.tables import (
    ENTRIES,
    PREVIOUS,
    TARGETS,
    WEIGHTS,
    at_positions,
    batch,
    scored,
    table,
)
from tests.tiny import TableModel, build


def test_loss_and_gradient_are_weighted_cross_entropy() -> None:
    """Trap 18: against arithmetic in float64, position by position."""
    student, weights = TableModel(table(2)), WEIGHTS.double().numpy()
    loss = SFT().backward(scored(), student=student)["loss"]
    q = probabilities(at_positions(table(2)))
    places = np.arange(len(TARGETS))
    assert loss == pytest.approx(-weights @ np.log(q[places, TARGETS]), rel=1e-5)
    slopes = q.copy()
    slopes[places, TARGETS] -= 1
    expected = np.zeros((ENTRIES, ENTRIES))
    np.add.at(expected, PREVIOUS, weights[:, None] * slopes)
    assert student.weight.grad is not None
    np.testing.assert_allclose(student.weight.grad.T.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_padding_rows_of_the_head_take_no_part() -> None:
    """Trap 5: neither in the sum of the softmax nor in the gradient."""
    bare, padded = TableModel(table(2)), TableModel(table(2), rows=9, padding=50.0)
    losses = [SFT().backward(scored(), student=side)["loss"] for side in (bare, padded)]
    assert losses[0] == losses[1]
    assert padded.weight.grad is not None
    assert not padded.weight.grad[ENTRIES:].any()


@pytest.mark.parametrize(
    "policy",
    [OnPolicy(), Mixed(), Mixed(lmbda=0.01, otherwise=Author.teacher), TeacherMixed(alpha=0.9)],
    ids=repr,
)
def test_text_of_the_student_is_refused(policy: Policy) -> None:
    """Trap 29: cross-entropy on the student's own samples feeds its errors back to it."""
    with pytest.raises(ConfigError, match="objective=sft"):
        SFT().check_authors(policy.may_write())


@pytest.mark.parametrize("policy", [OffPolicy(), SeqKD()], ids=repr)
def test_text_of_the_dataset_and_of_the_teacher_is_taken(policy: Policy) -> None:
    SFT().check_authors(policy.may_write())


def test_only_sft_is_particular_about_authors() -> None:
    """Trap 29."""
    DivergenceObjective.check_authors(DivergenceObjective(), OnPolicy().may_write())


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_total_nll_sums_the_log_likelihood_of_all_targets(chunk: int) -> None:
    q = probabilities(at_positions(table(2)))[np.arange(len(TARGETS)), TARGETS]
    found = total_nll(batch(), TableModel(table(2)), chunk_mb=chunk)
    assert found == pytest.approx(-np.log(q).sum(), rel=1e-5)


def test_total_nll_counts_the_end_token_like_any_other() -> None:
    """Trap 19: the embedded padding id is the end token, and the end is a target."""
    model = build()
    without, ended = (
        total_nll(model.batch([[50, 60], [70]], [[10, *end], [20, 21]]), model, chunk_mb=64)
        for end in ([], [model.end_id])
    )
    assert ended > without + 1e-3
