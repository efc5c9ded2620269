"""Distillation by a divergence: value, gradient, heads, temperatures and controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from distillkit.core.errors import ConfigError
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import DType, Teacher
from distillkit.objectives.base import Scored
from distillkit.objectives.comparison import Control
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.supports.full import Full
from tests.divergences import oracle
from tests.divergences.cases import CASES, Case
from tests.objectives.tables import ENTRIES, PREVIOUS, WEIGHTS, at_positions, scored, table
from tests.tiny import ENTRIES as REAL
from tests.tiny import TableModel, build, distance, gradients, opinion


def loss_and_gradient(
    objective: DivergenceObjective, teacher: TableModel, student: TableModel
) -> tuple[float, Tensor]:
    """The loss, and its gradient with respect to the student's table [V, V]."""
    loss = objective.backward(scored(teacher), student=student)["loss"]
    assert student.weight.grad is not None
    return loss, student.weight.grad[:ENTRIES].T


def expected_gradient(per_position: np.ndarray) -> np.ndarray:
    """Weighted gradients of the positions, added up in the rows of the table they read."""
    rows = np.zeros((ENTRIES, ENTRIES))
    np.add.at(rows, PREVIOUS, WEIGHTS.double().numpy()[:, None] * per_position)
    return rows


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_and_gradient_are_those_of_the_oracle(case: Case) -> None:
    """Trap 18: each position reads its own token, although the prompts' lengths differ."""
    left, right = table(1), table(2)
    loss, gradient = loss_and_gradient(
        DivergenceObjective(support=Full(), divergence=case.build()),
        TableModel(left),
        TableModel(right),
    )
    teacher, student = at_positions(left), at_positions(right)
    values = oracle.value(case.name, teacher, student, **case.settings)
    assert loss == pytest.approx(values @ WEIGHTS.double().numpy(), rel=1e-5)
    slopes = oracle.gradient(case.name, teacher, student, **case.settings)
    np.testing.assert_allclose(gradient.numpy(), expected_gradient(slopes), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_heads_padded_to_different_widths_are_cut_to_the_real_ids(case: Case) -> None:
    """Traps 5 and 6: padding that would hold all the mass changes nothing and learns nothing."""
    objective = DivergenceObjective(support=Full(), divergence=case.build())
    bare = loss_and_gradient(objective, TableModel(table(1)), TableModel(table(2)))
    student = TableModel(table(2), rows=7, padding=60.0)
    padded = loss_and_gradient(objective, TableModel(table(1), rows=11, padding=-40.0), student)
    assert padded[0] == bare[0]
    assert torch.equal(padded[1], bare[1])
    assert student.weight.grad is not None
    assert not student.weight.grad[ENTRIES:].any()


def on_models(student: LanguageModel, teacher: LanguageModel) -> tuple[Scored, float]:
    """A batch of two rows on real models, and its mean forward KL."""
    prompts, responses = [[50, 60, 70], [200]], [[10, 11], [20, 21, 22, 1]]
    batch = Scored(
        student=student.batch(prompts, responses),
        weights=torch.full((6,), 1 / 6),
        opinion=opinion(teacher, teacher.batch(prompts, responses)),
    )
    objective = DivergenceObjective(support=Full(), divergence=ForwardKL())
    return batch, objective.backward(batch, student=student)["loss"]


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_real_models_of_widths_400_and_448_give_the_loss_of_cut_heads(tied: bool) -> None:
    """Traps 5 and 6: the loss is that of both models' own logits, cut to the shared ids."""
    student = build("gpt2", vocab_size=400, tied=tied)
    teacher = build("llama", vocab_size=448, tied=tied, side=Teacher)
    batch, loss = on_models(student, teacher)
    values = []
    for row, column in zip(batch.student.rows, batch.student.columns, strict=True):
        ids = batch.student.tokens[row : row + 1, : column + 1]
        with torch.no_grad():
            p, q = (
                model.module(input_ids=ids).logits[0, -1, :REAL].double().log_softmax(-1)
                for model in (teacher, student)
            )
        values.append((p.exp() * (p - q)).sum().item())
    assert loss == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_huge_padding_rows_of_real_models_change_nothing_and_learn_nothing(tied: bool) -> None:
    """Traps 5 and 6."""
    losses, students = [], []
    for padding in (0.0, 500.0):
        student = build("gpt2", vocab_size=400, tied=tied)
        teacher = build("llama", vocab_size=448, tied=tied, side=Teacher)
        with torch.no_grad():
            for model in (student, teacher):
                model.head.weight[REAL:] = padding
        losses.append(on_models(student, teacher)[1])
        students.append(student)
    assert losses[0] == losses[1]
    assert distance(*map(gradients, students)) == 0
    head = students[1].module.get_output_embeddings().weight.grad
    assert head[:REAL].any()
    assert not head[REAL:].any()


@pytest.mark.parametrize(("ours", "theirs"), [(1.0, 2.5), (0.5, 1.0), (2.0, 0.7)])
def test_each_temperature_divides_the_logits_of_its_own_side(ours: float, theirs: float) -> None:
    """Trap 24: no side borrows the other's, and no T squared sneaks in."""
    left, right = table(1), table(2)
    objective = DivergenceObjective(
        support=Full(), divergence=ForwardKL(), student_temperature=ours, teacher_temperature=theirs
    )
    loss, gradient = loss_and_gradient(objective, TableModel(left), TableModel(right))
    teacher, student = at_positions(left) / theirs, at_positions(right) / ours
    values = oracle.value("forward_kl", teacher, student)
    assert loss == pytest.approx(values @ WEIGHTS.double().numpy(), rel=1e-5)
    slopes = oracle.gradient("forward_kl", teacher, student) / ours
    np.testing.assert_allclose(gradient.numpy(), expected_gradient(slopes), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(side: str, temperature: float) -> None:
    with pytest.raises(ConfigError, match=rf"objective\.{side}_temperature must be above 0"):
        DivergenceObjective(
            support=Full(), divergence=ForwardKL(), **{f"{side}_temperature": temperature}
        )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient(case: Case) -> None:
    """Traps 4 and 32."""
    loss, gradient = loss_and_gradient(
        DivergenceObjective(support=Full(), divergence=case.build()),
        TableModel(table(1)),
        TableModel(table(1)),
    )
    assert abs(loss) < 1e-6
    assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_shuffled_teacher_changes_loss_and_gradient(case: Case) -> None:
    """Trap 32: the teacher's signal is used; if it were dropped, shuffling could not matter."""
    honest, shuffled = (
        loss_and_gradient(
            DivergenceObjective(support=Full(), divergence=case.build(), control=control),
            TableModel(table(1)),
            TableModel(table(2)),
        )
        for control in (Control.none, Control.shuffled_teacher)
    )
    assert abs(honest[0] - shuffled[0]) > 1e-3
    assert (honest[1] - shuffled[1]).abs().max() > 1e-3


def test_a_shuffled_teacher_gives_each_position_the_opinion_of_another_one() -> None:
    """Trap 32: the same opinions, permuted, and none left where it belongs."""
    left, right = table(1), table(2)
    objective = DivergenceObjective(
        support=Full(), divergence=ForwardKL(), control=Control.shuffled_teacher
    )
    loss, _ = loss_and_gradient(objective, TableModel(left), TableModel(right))
    moved = np.roll(at_positions(left), 4, axis=0)
    values = oracle.value("forward_kl", moved, at_positions(right))
    assert loss == pytest.approx(values @ WEIGHTS.double().numpy(), rel=1e-5)


def test_the_teacher_gets_no_gradient() -> None:
    teacher = TableModel(table(1))
    loss_and_gradient(
        DivergenceObjective(support=Full(), divergence=ReverseKL()), teacher, TableModel(table(2))
    )
    assert teacher.weight.grad is None
    assert teacher.states.grad is None


def test_a_bf16_teacher_never_makes_the_divergence_negative() -> None:
    """Trap 10: both sides are widened first, so rounding cannot push a zero below zero."""
    coarse = table(1).bfloat16()
    teacher = TableModel(coarse)
    for right in (coarse.float(), coarse.float() + 1e-4 * table(2)):
        for position in range(len(WEIGHTS)):
            weights = torch.zeros_like(WEIGHTS)
            weights[position] = 1
            batch = replace(scored(teacher), weights=weights)
            objective = DivergenceObjective(support=Full(), divergence=JensenShannon(beta=0.1))
            loss = objective.backward(batch, student=TableModel(right))["loss"]
            assert -1e-7 < loss < 1e-6


def test_a_teacher_with_bf16_weights_gives_nearly_the_fp32_loss() -> None:
    """Trap 7."""
    exact, coarse = (
        on_models(build("gpt2"), build("llama", side=Teacher, dtype=dtype))[1]
        for dtype in (DType.float32, DType.bfloat16)
    )
    assert coarse != exact
    assert coarse == pytest.approx(exact, rel=0.03)
