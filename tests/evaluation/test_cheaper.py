"""The rows of a comparison, against the objective itself and against each other."""

from collections.abc import Callable
from math import isclose

import pytest
import torch
from torch import Tensor, nn

from distillkit.core.errors import ConfigError
from distillkit.core.types import Batch
from distillkit.divergences.apart import log_probs
from distillkit.evaluation.cheaper import Estimates, Plan, Reading
from distillkit.evaluation.tally import EstimateRow
from distillkit.models.head import Head
from distillkit.objectives.base import Scored
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.opinions.states import StatesOpinion
from distillkit.supports.base import Support
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import StudentTopK, TeacherTopK
from tests.divergences.cases import CASES, Case, logits
from tests.tiny import opinion

N, V, D = 12, 30, 5
PLAN = Plan(k=(1, 3, 8), draws=(1, 4), repeats=8)
WEIGHTS = torch.arange(1, N + 1) / (N * (N + 1) / 2)
TARGETS = torch.arange(N) % V
SUPPORTS: dict[tuple[str, int | None], Support] = {
    ("dense", None): Full(),
    **{("teacher_top_k", k): TeacherTopK(k=k) for k in PLAN.k},
    **{("student_top_k", k): StudentTopK(k=k) for k in PLAN.k},
    ("sampled", None): Sampled(),
}


class States:
    """A scorer whose hidden states are given, one for each position."""

    def __init__(
        self, *, seed: int, vocabulary: int = V, dtype: torch.dtype = torch.float32
    ) -> None:
        self.states = nn.Parameter(logits(N, D, seed=seed, spread=1.0).to(dtype))
        weight = logits(vocabulary + 2, D, seed=seed + 1, spread=1.5).to(dtype)
        bias = logits(vocabulary + 2, seed=seed + 2).to(dtype)
        self.head = Head(weight=weight, bias=bias, vocabulary=vocabulary, scale=0.9, softcap=12.0)

    def hidden(self, batch: Batch) -> Tensor:
        return self.states


def reading(student: States, teacher: States, part: slice = slice(None)) -> Reading:
    heard = StatesOpinion(teacher.states.detach()[part], TARGETS[part], teacher)
    return Reading(student.states.detach()[part], heard, TARGETS[part], WEIGHTS[part])


def compared(
    objective: DivergenceObjective,
    *,
    plan: Plan = PLAN,
    parts: tuple[slice, ...] = (slice(None),),
    student: Callable[[], States] = lambda: States(seed=1),
    teacher: Callable[[], States] = lambda: States(seed=50),
) -> list[EstimateRow]:
    ours, theirs = student(), teacher()
    made = Estimates(
        objective.compared(), student=ours.head, chunk_mb=objective.chunk_mb, plan=plan, seed=3
    )
    for part in parts:
        made.add(reading(ours, theirs, part))
    return made.rows()


def wide(seed: int, vocabulary: int = V) -> States:
    return States(seed=seed, vocabulary=vocabulary, dtype=torch.float64)


def objective(case: Case, support: Support | None = None, **fields: float) -> DivergenceObjective:
    return DivergenceObjective(divergence=case.build(), support=support or Full(), **fields)


def trained(case: Case, support: Support, **fields: float) -> tuple[float, Tensor]:
    """The loss of a training step, and the gradient that it leaves in the hidden states [N, D].

    In fp64: a bucket's gradient is what little is left of numbers a hundred times as large.
    """
    student, teacher = wide(1), wide(50)
    nowhere, empty = torch.zeros_like(TARGETS), torch.zeros(1, 0, dtype=torch.long)
    batch = Batch(empty, empty, nowhere, nowhere, TARGETS)
    loss = objective(case, support, **fields).backward(
        Scored(batch, WEIGHTS.double(), opinion=opinion(teacher, batch)), student=student
    )["loss"]
    assert student.states.grad is not None
    return loss, student.states.grad


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_deterministic_row_is_the_loss_and_gradient_of_training_on_its_support(
    case: Case,
) -> None:
    fields = {"student_temperature": 0.8, "teacher_temperature": 1.3}
    sides = {"student": lambda: wide(1), "teacher": lambda: wide(50)}
    rows = {(row.estimator, row.k): row for row in compared(objective(case, **fields), **sides)}
    loss, dense = trained(case, Full(), **fields)
    for key, support in SUPPORTS.items():
        row, (value, gradient) = rows[key], trained(case, support, **fields)
        assert row.value == pytest.approx(value, rel=1e-6)
        assert row.bias == pytest.approx(value - loss, abs=1e-7)
        assert row.gradient_norm == pytest.approx(gradient.norm().item(), rel=1e-6)
        cosine = torch.cosine_similarity(gradient.flatten(), dense.flatten(), dim=0).item()
        assert row.expected_cosine == pytest.approx(cosine, abs=1e-6)
        assert (row.draws, row.bias_error, row.variance) == (None, None, None)


def test_the_mass_outside_is_weighted_over_the_positions() -> None:
    (row,) = (
        row
        for row in compared(objective(Case("jsd")))
        if (row.estimator, row.k) == ("teacher_top_k", 3)
    )
    student, teacher = (
        log_probs(side.head.prepared().logits(side.states.detach())).exp()
        for side in (States(seed=1), States(seed=50))
    )
    ids = teacher.topk(3).indices
    for found, side in ((row.outside_teacher, teacher), (row.outside_student, student)):
        assert found == pytest.approx((WEIGHTS @ (1 - side.gather(-1, ids).sum(-1))).item())


def test_monte_carlo_rows_appear_for_reverse_kl_alone() -> None:
    for case in CASES:
        random = [row.estimator for row in compared(objective(case)) if row.draws]
        assert random == (["k1", "k1", "k2", "k2", "k3", "k3"] if case.name == "reverse_kl" else [])


def random_rows(plan: Plan) -> dict[tuple[str, int], EstimateRow]:
    rows = compared(objective(Case("reverse_kl")), plan=plan)
    return {(row.estimator, row.draws): row for row in rows if row.draws}


def test_expected_gradients_of_k1_and_k2_are_the_dense_one_and_that_of_k3_is_not() -> None:
    """Trap 17: k3 is as far from reverse KL's gradient as forward KL is."""
    rows = random_rows(PLAN)
    for name in ("k1", "k2"):
        assert rows[name, 1].expected_cosine == pytest.approx(1, abs=1e-6)
    reverse, forward = (trained(Case(f"{way}_kl"), Full())[1] for way in ("reverse", "forward"))
    cosine = torch.cosine_similarity(reverse.flatten(), forward.flatten(), dim=0).item()
    assert cosine < 0.95
    assert rows["k3", 4].expected_cosine == pytest.approx(cosine, abs=1e-5)
    assert rows["k3", 4].gradient_norm == pytest.approx(forward.norm().item(), rel=1e-4)


def test_draws_agree_with_their_expectation_and_quieten_with_their_number() -> None:
    rows = random_rows(Plan(draws=(1, 4, 16), repeats=400))
    for name in ("k1", "k2", "k3"):
        for count in (1, 4, 16):
            row = rows[name, count]
            assert row.bias_error is not None
            assert abs(row.bias - row.expected_bias) < 4 * row.bias_error
            assert row.variance == pytest.approx(rows[name, 1].variance / count)
    for name in ("k1", "k2"):
        one, four, sixteen = (rows[name, count] for count in (1, 4, 16))
        assert one.draw_cosine < four.draw_cosine < sixteen.draw_cosine < 1
        # An unbiased draw is the dense gradient plus its noise, mostly at right angles to it.
        assert sixteen.draw_cosine == pytest.approx((1 + sixteen.variance) ** -0.5, abs=0.05)
    assert abs(rows["k1", 1].expected_bias) < 1e-6
    assert abs(rows["k2", 1].expected_bias) > 0.1
    assert abs(rows["k3", 1].expected_bias) < 1e-6


def test_k1_by_the_score_function_and_k2_back_propagated_are_one_gradient() -> None:
    rows = random_rows(PLAN)
    for count in PLAN.draws:
        k1, k2 = rows["k1", count], rows["k2", count]
        assert (k1.variance, k1.draw_cosine) == (k2.variance, k2.draw_cosine)
        assert k1.value != k2.value


def alike(left: list[EstimateRow], right: list[EstimateRow]) -> None:
    for one, other in zip(left, right, strict=True):
        for name in EstimateRow.__slots__:
            a, b = getattr(one, name), getattr(other, name)
            if isinstance(a, float):
                assert isclose(a, b, rel_tol=1e-4, abs_tol=1e-6), (one.estimator, name, a, b)
            else:
                assert a == b


def test_chunks_of_any_size_give_the_same_rows() -> None:
    many, few = (
        compared(
            DivergenceObjective(
                divergence=Case("reverse_kl").build(), support=Full(), chunk_mb=chunk_mb
            ),
            student=lambda: wide(1, vocabulary=40_000),
            teacher=lambda: wide(50, vocabulary=40_000),
        )
        for chunk_mb in (1, 1000)
    )
    alike(many, few)


def test_micro_batches_add_up_to_the_whole() -> None:
    whole, split = (
        compared(objective(Case("reverse_kl")), parts=parts)
        for parts in ((slice(None),), (slice(0, 5), slice(5, 6), slice(6, N)))
    )
    alike(whole, split)


def test_a_student_that_is_its_teacher_has_no_value_anywhere() -> None:
    """Traps 4 and 32."""
    rows = compared(objective(Case("reverse_kl")), teacher=lambda: States(seed=1))
    assert max(abs(row.value) for row in rows) < 1e-6


def test_k_is_capped_by_the_vocabulary_and_joined_by_the_runs_own() -> None:
    rows = compared(objective(Case("tvd"), TeacherTopK(k=7)), plan=Plan(k=(2, 100, 200)))
    kept = [row.k for row in rows if row.estimator == "student_top_k"]
    assert kept == [2, 7, V]
    assert rows[3].bias == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"k": ()}, "--k takes"),
        ({"k": (4, 0)}, "--k takes numbers of at least 1, got '4,0'"),
        ({"draws": (-1,)}, "--draws takes numbers of at least 1, got '-1'"),
        ({"repeats": 1}, "--repeats must be at least 2, got 1"),
    ],
)
def test_a_plan_that_compares_nothing_is_refused(plan: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Plan(**plan)
