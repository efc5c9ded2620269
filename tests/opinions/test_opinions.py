"""What is told of some entries is worth what the whole distribution is worth on them."""

import pytest
import torch
from torch import Tensor

from distillkit.core.errors import ConfigError
from distillkit.divergences.apart import FLOOR, log_probs
from distillkit.divergences.base import Divergence
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.objectives.base import Scored
from distillkit.objectives.comparison import Comparison, Control
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.opinions.base import Opinion
from distillkit.opinions.sparse import SparseOpinion
from distillkit.opinions.states import ModelReader, StatesOpinion
from distillkit.supports.base import Sparse, Support, merge
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import StudentTopK, TeacherTopK
from tests.objectives.tables import OTHER_PROMPTS, TARGETS, WEIGHTS, batch, table
from tests.tiny import TableModel, build, opinion
from tests.training.parts import EXAMPLES, rollout


def told(support: Support) -> tuple[StatesOpinion, SparseOpinion]:
    """A teacher's opinion as states, and what it tells of a support's entries."""
    states = opinion(TableModel(table(1).double()), batch(OTHER_PROMPTS))
    whole = log_probs(states.opened(100)(slice(None)))
    ids = support.chosen(whole, whole, torch.tensor(TARGETS))
    merged, _ = merge(whole, ids)
    entries = Sparse(ids, merged[:, :-1], merged[:, -1])
    drawn = whole.gather(-1, torch.tensor(TARGETS)[:, None])[:, 0]
    return states, SparseOpinion(entries, drawn)


def learnt(heard: Opinion, comparison: Comparison, chunk_mb: int) -> tuple[float, Tensor]:
    """Loss, and the gradient of a student's table."""
    student = TableModel(table(2).double())
    objective = DivergenceObjective(
        divergence=comparison.divergence,
        support=comparison.support,
        control=comparison.control,
        chunk_mb=chunk_mb,
    )
    scored = Scored(batch(), WEIGHTS.double(), opinion=heard)
    loss = objective.backward(scored, student=student)["loss"]
    assert student.weight.grad is not None
    return loss, student.weight.grad


TOP = [
    (TeacherTopK(k=asked), TeacherTopK(k=given), control)
    for asked, given in ((2, 2), (2, 4), (4, 4))
    for control in Control
]


@pytest.mark.parametrize("divergence", [ForwardKL(), ReverseKL(), JensenShannon(beta=0.3)])
# A shuffled opinion of the drawn token would be that of another token.
@pytest.mark.parametrize(
    ("asked", "given", "control"), [*TOP, (Sampled(), Sampled(), Control.none)], ids=repr
)
def test_entries_that_are_told_teach_what_the_whole_distribution_teaches(
    asked: Support, given: Support, divergence: Divergence, control: Control
) -> None:
    comparison = Comparison(divergence=divergence, support=asked, control=control)
    states, sparse = told(given)
    loss, gradient = learnt(states, comparison, chunk_mb=160)
    found, slope = learnt(sparse, comparison, chunk_mb=160)
    assert found == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(slope, gradient, rtol=1e-9, atol=1e-12)


def test_what_is_drawn_is_the_log_probability_of_each_token() -> None:
    states, sparse = told(Sampled())
    expected = sparse.entries.log_probs[:, 0]
    torch.testing.assert_close(states.drawn(chunk_mb=1).double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(sparse.drawn(chunk_mb=1), expected)


@pytest.mark.parametrize("place", [0, 1], ids=["states", "sparse"])
def test_opinions_split_by_rollout_and_joined_again_are_the_same(place: int) -> None:
    whole = told(TeacherTopK(k=3))[place]
    parts = whole.split([3, 5])
    assert [len(part) for part in parts] == [3, 5]
    again = parts[0].join(parts[1:])
    assert torch.equal(again.drawn(chunk_mb=1), whole.drawn(chunk_mb=1))
    left, right = (each.opened(8)(slice(2, 7)) for each in (again, whole))
    pairs = zip(left, right, strict=True) if isinstance(left, Sparse) else [(left, right)]
    assert all(torch.equal(one, other) for one, other in pairs)


def test_entries_that_are_left_out_join_the_rest() -> None:
    _, sparse = told(TeacherTopK(k=4))
    fewer = sparse.entries.kept(1)
    masses = [each.log_probs.exp().sum(-1) + each.rest.exp() for each in (sparse.entries, fewer)]
    for mass in masses:
        torch.testing.assert_close(mass, torch.ones_like(mass))
    assert fewer.ids.shape == (len(TARGETS), 1)
    assert sparse.entries.kept(9) is sparse.entries
    assert (fewer.rest > FLOOR).all()


@pytest.mark.parametrize(
    ("asked", "given", "fits"),
    [
        (Full(), Full(), True),
        (Full(), TeacherTopK(k=64), False),
        (StudentTopK(k=2), Full(), True),
        (StudentTopK(k=2), TeacherTopK(k=64), False),
        (TeacherTopK(k=8), TeacherTopK(k=8), True),
        (TeacherTopK(k=9), TeacherTopK(k=8), False),
        (Sampled(), TeacherTopK(k=8), False),
        (Sampled(), Sampled(), True),
        (TeacherTopK(k=1), Sampled(), False),
    ],
    ids=repr,
)
def test_a_support_that_the_teacher_does_not_tell_is_refused(
    asked: Support, given: Support, fits: bool
) -> None:
    comparison = Comparison(divergence=ForwardKL(), support=asked)
    if fits:
        comparison.check_told([given], "mine")
        return
    with pytest.raises(ConfigError, match=r"support=.* compares more entries than teacher=mine"):
        comparison.check_told([given], "mine")


def test_the_drawn_token_alone_cannot_be_shuffled() -> None:
    """Told entries move with their ids: each would be held against another position's token."""
    broken = Comparison(divergence=ForwardKL(), support=Sampled(), control=Control.shuffled_teacher)
    broken.check_told([Full()], "mine")
    with pytest.raises(ConfigError, match="control=shuffled_teacher gives each position"):
        broken.check_told([Sampled()], "mine")


def test_a_temperature_needs_logits() -> None:
    comparison = Comparison(
        divergence=ForwardKL(), support=TeacherTopK(k=2), teacher_temperature=2.0
    )
    comparison.check_told([Full()], "mine")
    with pytest.raises(ConfigError, match=r"teacher_temperature=2.0 divides logits"):
        comparison.check_told([TeacherTopK(k=2)], "mine")


def test_a_model_reads_several_rollouts_as_it_reads_each() -> None:
    reader = ModelReader(build("gpt2"))
    rollouts = [rollout(EXAMPLES[0], [70, 80]), rollout(EXAMPLES[1], [90, 91, 92])]
    with torch.no_grad():
        together = reader.read(rollouts).split([2, 3])
        alone = [reader.read([each]) for each in rollouts]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.states, other.states, rtol=1e-4, atol=1e-5)
        assert torch.equal(one.targets, other.targets)


def test_entries_are_one_graph_in_the_fused_form_that_cuda_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    comparison = Comparison(divergence=JensenShannon(beta=0.3), support=TeacherTopK(k=2))
    _, sparse = told(TeacherTopK(k=4))
    loss, gradient = learnt(sparse, comparison, chunk_mb=160)
    torch.compiler.reset()
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    monkeypatch.setattr(
        "distillkit.objectives.scoring.fused",
        lambda function, device: torch.compile(
            function, dynamic=True, fullgraph=True, backend="aot_eager"
        ),
    )
    found, slope = learnt(sparse, comparison, chunk_mb=160)
    assert found == pytest.approx(loss, rel=1e-9)
    torch.testing.assert_close(slope, gradient, rtol=1e-9, atol=1e-12)
