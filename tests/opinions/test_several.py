"""Several teachers: each row is its reader's own, and a mixture is one distribution."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import Tensor

from distillkit.core.costs import Costs
from distillkit.core.errors import ConfigError, DataError
from distillkit.core.types import Example, Rollout
from distillkit.divergences.apart import log_probs
from distillkit.divergences.jsd import JensenShannon
from distillkit.divergences.kl import ForwardKL
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import SelfTeacher, Teacher
from distillkit.objectives.base import Scored
from distillkit.objectives.comparison import Control
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.opinions.base import Opinion, Reader
from distillkit.opinions.blended import BlendedOpinion
from distillkit.opinions.members import BlendedReader, RoutedReader
from distillkit.opinions.routed import RoutedOpinion
from distillkit.opinions.several import Route, Several
from distillkit.opinions.sparse import told
from distillkit.opinions.states import ModelReader
from distillkit.supports.base import Sparse, Support
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import TeacherTopK
from distillkit.training.settings import LoopSettings
from distillkit.training.sides import Sides
from distillkit.training.step import accumulate
from tests.objectives.tables import OTHER_PROMPTS, TARGETS, WEIGHTS, batch, table
from tests.tiny import TableModel, build, distance, gradients, opinion
from tests.training.parts import EXAMPLES, dense, forward_kl, rollout

ROWS = (3, 5)
"""Positions of each row of the batch of tables."""


def tables(*seeds: int) -> list[TableModel]:
    return [TableModel(table(seed).double()) for seed in seeds]


def learnt(heard: Opinion, weights: Tensor = WEIGHTS, **settings: object) -> tuple[float, Tensor]:
    """Loss, and the gradient of a student's table."""
    student = TableModel(table(2).double())
    asked = {"divergence": JensenShannon(beta=0.3), "support": Full(), **settings}
    objective = DivergenceObjective(**asked)
    scored = Scored(batch(), weights.double(), opinion=heard)
    loss = objective.backward(scored, student=student)["loss"]
    assert student.weight.grad is not None
    return loss, student.weight.grad


def whole(heard: Opinion, rows: int = 8) -> Tensor:
    """Log-probabilities of all positions, some at a time."""
    hear, parts = heard.opened(rows), []
    for start in range(0, len(heard), rows):
        said = hear(slice(start, min(start + rows, len(heard))))
        assert isinstance(said, Tensor)
        parts.append(log_probs(said))
    return torch.cat(parts)


def routed(owners: Sequence[int], *readers: TableModel) -> RoutedOpinion:
    """Position by position, whoever owns it."""
    each = [opinion(reader, batch(OTHER_PROMPTS)) for reader in readers]
    places = torch.tensor(owners)
    parts = {}
    for number in set(owners):
        own = places == number
        parts[number] = replace(
            each[number], states=each[number].states[own], targets=each[number].targets[own]
        )
    return RoutedOpinion(parts, places)


BY_ROW = [0] * ROWS[0] + [1] * ROWS[1]
OWNERS = [BY_ROW, [0, 1, 0, 1, 1, 0, 2, 1], [0] * 8]


@pytest.mark.parametrize("owners", OWNERS, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_each_position_is_its_readers_own_whatever_a_slice_holds(
    owners: list[int], rows: int
) -> None:
    readers = tables(1, 3, 4)
    alone = [whole(opinion(reader, batch(OTHER_PROMPTS))) for reader in readers]
    expected = torch.stack([alone[owner][place] for place, owner in enumerate(owners)])
    heard = routed(owners, *readers)
    torch.testing.assert_close(whole(heard, rows), expected)
    drawn = expected.gather(-1, torch.tensor(TARGETS)[:, None])[:, 0]
    torch.testing.assert_close(heard.drawn(chunk_mb=1), drawn)
    by = len(owners) // 2
    torch.testing.assert_close(whole(heard.rolled(), rows), expected.roll(by, dims=0))


@pytest.mark.parametrize("owners", OWNERS, ids=str)
def test_split_by_row_and_joined_in_any_order_rows_keep_their_reader(owners: list[int]) -> None:
    heard = routed(owners, *tables(1, 3, 4))
    lengths = [3, 0, 4, 1]
    pieces, expected = heard.split(lengths), whole(heard).split(lengths)
    assert [len(piece) for piece in pieces] == lengths
    for order in permutations([0, 2, 3]):
        first, *others = (pieces[place] for place in order)
        found = whole(first.join(others))
        torch.testing.assert_close(found, torch.cat([expected[place] for place in order]))


@pytest.mark.parametrize("support", [Full(), TeacherTopK(k=2), Sampled()], ids=repr)
def test_a_routed_batch_teaches_the_sum_of_what_each_teaches_alone(support: Support) -> None:
    readers = tables(1, 3)
    loss, gradient = learnt(routed(BY_ROW, *readers), support=support)
    losses, slopes = 0.0, torch.zeros_like(gradient)
    for number, reader in enumerate(readers):
        own = WEIGHTS * (torch.tensor(BY_ROW) == number)
        value, slope = learnt(opinion(reader, batch(OTHER_PROMPTS)), own, support=support)
        losses, slopes = losses + value, slopes + slope
    assert loss == pytest.approx(losses, rel=1e-12)
    torch.testing.assert_close(gradient, slopes, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("support", [TeacherTopK(k=2), Sampled()], ids=repr)
def test_entries_that_readers_tell_are_laid_together_as_logits_are(support: Support) -> None:
    owners = [0, 1, 0, 1, 1, 0, 1, 1]
    logits = routed(owners, *tables(1, 3))
    targets = torch.tensor(TARGETS)
    parts = {
        number: told(part, targets[torch.tensor(owners) == number], support, rows=3, chunk_mb=1)
        for number, part in logits.parts.items()
    }
    entries = RoutedOpinion(parts, logits.owners)
    expected, gradient = learnt(logits, support=support)
    loss, slope = learnt(entries, support=support)
    assert loss == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(slope, gradient, rtol=1e-9, atol=1e-12)
    assert isinstance(entries.opened(8)(slice(0, 8)), Sparse)


SHARES = (0.3, 0.7)


def blended() -> tuple[BlendedOpinion, Opinion]:
    """Two tables in shares, and the one table that this is."""
    readers = tables(1, 3)
    asked = batch(OTHER_PROMPTS)
    mixed = sum(
        share * reader.weight.T.softmax(-1) for share, reader in zip(SHARES, readers, strict=True)
    )
    one = opinion(TableModel(mixed.detach().log()), asked)
    return BlendedOpinion([opinion(reader, asked) for reader in readers], SHARES), one


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"teacher_temperature": 2.0},
        {"control": Control.shuffled_teacher},
        {"support": TeacherTopK(k=2)},
        {"support": Sampled()},
    ],
    ids=str,
)
def test_a_mixture_teaches_what_the_one_distribution_teaches(settings: dict[str, object]) -> None:
    found, one = blended()
    loss, gradient = learnt(found, **settings)
    expected, slope = learnt(one, **settings)
    assert loss == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient, slope, rtol=1e-12, atol=1e-15)


def test_a_mixture_is_split_joined_and_drawn_from_as_one() -> None:
    found, one = blended()
    torch.testing.assert_close(found.drawn(chunk_mb=1), one.drawn(chunk_mb=1))
    pieces = found.split(list(ROWS))
    again = pieces[1].join([pieces[0]])
    torch.testing.assert_close(whole(again, 3), whole(one).roll(ROWS[1], dims=0))


# Models, routed by a field of the examples.
TAGGED = [replace(each, tags=(("who", "ab"[place % 2]),)) for place, each in enumerate(EXAMPLES)]
ROLLOUTS = [
    rollout(TAGGED[0], [10, 11, 1]),
    rollout(TAGGED[1], [20, 21, 22, 23, 24, 25, 26]),
    rollout(TAGGED[2], [30]),
    rollout(TAGGED[3], [40, 1, 41, 42, 1]),
]
WIDTH = 64
"""More than any row of the batch has."""


@pytest.fixture(scope="module")
def models() -> tuple[LanguageModel, dict[str, LanguageModel]]:
    student = build("gpt2", context=256)
    kinds = {"a": ("llama", 1), "b": ("mistral", 2)}
    return student, {
        name: build(family, side=Teacher, context=256, seed=seed)
        for name, (family, seed) in kinds.items()
    }


def settings(**fields: object) -> Several:
    members = {name: Teacher(name=name) for name in "ab"}
    return Several(members=members, **fields)


def accumulated(
    student: LanguageModel, reader: Reader, rollouts: Sequence[Rollout], **loop: object
) -> tuple[float, dict[str, Tensor]]:
    student.module.zero_grad()
    loss = accumulate(
        rollouts,
        sides=Sides(student, reader=reader),
        objective=DivergenceObjective(support=Full(), divergence=ForwardKL()),
        loop=LoopSettings(**loop),
    )["loss"]
    return loss, gradients(student)


def reader_of(
    models: tuple[LanguageModel, dict[str, LanguageModel]], asked: Several
) -> RoutedReader | BlendedReader:
    student, members = models
    readers = {name: ModelReader(model) for name, model in members.items()}
    if asked.weights:
        return BlendedReader(readers, asked)
    return RoutedReader(readers, asked, told=None, student=student)


@pytest.mark.parametrize("tokens", [1, 2 * WIDTH, 4 * WIDTH])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 0, 2, 1]], ids=str)
def test_models_that_are_routed_teach_the_definition_in_any_order_and_split(
    models: tuple[LanguageModel, dict[str, LanguageModel]], order: list[int], tokens: int
) -> None:
    student, members = models
    expected, slopes = 0.0, dict[str, Tensor]()
    for name, teacher in members.items():
        own = [each for each in ROLLOUTS if each.example.tag("who") == name]
        value, slope = dense(own, student=student, teacher=teacher, value=forward_kl)
        share = sum(len(each.response.tokens) for each in own) / 16
        expected += share * value
        slopes = {key: share * slope[key] + slopes.get(key, 0) for key in slope}
    asked = settings(route=Route(field="who"))
    rows = [ROLLOUTS[place] for place in order]
    reader = reader_of(models, asked)
    loss, found = accumulated(student, reader, rows, micro_batch_tokens=tokens)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert distance(found, slopes) < 1e-5


@pytest.mark.parametrize("tokens", [1, 4 * WIDTH])
def test_models_that_are_mixed_teach_the_definition_of_the_mixture(
    models: tuple[LanguageModel, dict[str, LanguageModel]], tokens: int
) -> None:
    student, members = models
    weights = {"a": 3.0, "b": 1.0}
    reader = reader_of(models, settings(weights=weights))
    alone = {
        name: torch.cat([whole(ModelReader(each).read([one]), 9) for one in ROLLOUTS])
        for name, each in members.items()
    }
    with torch.no_grad():
        found = torch.cat([whole(reader.read([one]), 9) for one in ROLLOUTS])
        together = whole(reader.read(ROLLOUTS), 5)
    mixed = (0.75 * alone["a"].double().exp() + 0.25 * alone["b"].double().exp()).log()
    torch.testing.assert_close(found.double(), mixed, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together, found, rtol=1e-4, atol=1e-4)
    once = accumulated(student, reader, ROLLOUTS, micro_batch_tokens=4 * WIDTH)
    split = accumulated(student, reader, ROLLOUTS, micro_batch_tokens=tokens)
    assert split[0] == pytest.approx(once[0], rel=1e-5)
    assert distance(split[1], once[1]) < 1e-5


class Told(Reader):
    """Counts what it is told and asked."""

    def __init__(self, context: int, prompt: int) -> None:
        self._context, self._prompt, self.expected = context, prompt, list[str]()

    @property
    def context(self) -> int:
        return self._context

    def prompt_length(self, example: Example) -> int:
        return self._prompt

    def read(self, rollouts: Sequence[Rollout]) -> Opinion:
        raise NotImplementedError

    def expect(self, rollouts: Sequence[Rollout]) -> None:
        self.expected += [each.example.id for each in rollouts]

    @property
    def costs(self) -> Costs:
        return Costs(tokens=self._prompt, seconds=0.5)


def test_members_are_told_of_their_own_rows_and_their_costs_add_up() -> None:
    members = {"a": Told(90, 3), "b": Told(70, 5)}
    route = RoutedReader(members, settings(route=Route(field="who")), told=None, student=None)
    route.expect(ROLLOUTS)
    assert members["a"].expected == [EXAMPLES[0].id, EXAMPLES[2].id]
    assert members["b"].expected == [EXAMPLES[1].id, EXAMPLES[3].id]
    assert route.costs == Costs(tokens=8, seconds=1.0)
    assert route.context == 70
    assert [route.prompt_length(each) for each in TAGGED] == [3, 5, 3, 5]
    both = BlendedReader(members, settings(weights={"a": 1.0, "b": 1.0}))
    assert [both.prompt_length(each) for each in TAGGED] == [5, 5, 5, 5]


def test_an_example_that_names_nobody_is_refused_with_those_that_are_there() -> None:
    asked = settings(route=Route(field="who", members={"mine": "a"}))
    asked.check_asked([*TAGGED, replace(EXAMPLES[0], tags=(("who", "mine"),))])
    with pytest.raises(DataError, match=r"How many\? has no such field: its fields are none at"):
        asked.check_asked(EXAMPLES[1:])
    stranger = replace(EXAMPLES[1], tags=(("who", "c"),))
    with pytest.raises(DataError, match=r"has who=c, and teacher.members are a, b\. Add the memb"):
        asked.check_asked([*TAGGED, stranger])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"members": {}}, "teacher=several has no members"),
        ({"members": {"a": SelfTeacher()}}, "teacher.members.a=self cannot be one of several"),
        ({"members": {"a": Teacher(name="x", draft="y")}}, "teacher.members.a.draft=y has no eff"),
        ({}, "neither of them is given"),
        ({"route": Route(field="x"), "weights": {"a": 1, "b": 1}}, "both of them is given"),
        ({"weights": {"a": 1}}, "teacher.weights names a, and the members are a, b"),
        ({"weights": {"a": 1, "c": 1}}, "teacher.weights names a, c, and the members are a, b"),
        ({"weights": {"a": 1, "b": 0}}, "teacher.weights.b=0 must be above 0"),
        ({"route": Route(field="x", members={"v": "c"})}, "route.members.v=c is no member"),
        (
            {"weights": {"a": 1, "b": 1}, "route": Route(members={"v": "a"})},
            "teacher.route.members has no effect without a field",
        ),
    ],
    ids=str,
)
def test_settings_that_name_no_teacher_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings(**fields) if "members" not in fields else Several(**fields)
