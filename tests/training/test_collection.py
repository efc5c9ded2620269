"""Rollouts that several updates learn from: which, how often, in which order, and read once."""

import math
from collections import Counter
from dataclasses import replace
from itertools import chain

import pytest
import torch

from distillkit.core.clock import Clock
from distillkit.core.types import Author, Rollout
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import Teacher
from distillkit.policies.base import Policy
from distillkit.policies.fixed import OnPolicy
from distillkit.policies.mixed import Draw, Mixed
from distillkit.training.authors import write_rollouts
from distillkit.training.collection import Collection, collect
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.sampler import draw_indices
from distillkit.training.sides import UNREAD
from distillkit.training.step import accumulate
from tests.tiny import build, distance, example, gradients
from tests.training.methods import METHODS, judge, method
from tests.training.parts import parts

EXAMPLES = [example(f"What is {number} plus 3?", f" {number + 3}") for number in range(10)]
ONCE = {"batch_size": 4, "examples": EXAMPLES}
SHARED = {**ONCE, "group": 2, "collect": 3, "inner_epochs": 2, "steps": 12}
"""Collections of six prompts, two responses each, three batches, six updates."""


@pytest.fixture(scope="module")
def pair() -> tuple[LanguageModel, LanguageModel]:
    """A student, which no test of this file moves unless it says so, and a teacher."""
    return build("gpt2"), build("llama", side=Teacher, seed=3)


def written(made: Parts, first: int) -> Collection:
    return collect(made, first, clock=Clock())


def span(made: Parts, collection: Collection) -> list[list[Rollout]]:
    """What each update of a collection learns from."""
    steps = range(collection.first, collection.first + made.loop.span)
    return [collection.batch(made, step)[0] for step in steps]


def numbers(rollouts: list[Rollout], collection: Collection) -> list[int]:
    """Places in the collection; every rollout is the very object that is there."""
    places = {id(item): place for place, item in enumerate(collection.rollouts)}
    return [places[id(item)] for item in rollouts]


@pytest.mark.parametrize(
    "policy", [OnPolicy(), Mixed(lmbda=0.5), Mixed(lmbda=0.5, draw=Draw.sequence)]
)
def test_a_batch_of_its_own_is_what_sampler_policy_and_writers_say_for_its_step(
    policy: Policy, pair
) -> None:
    made = parts(*pair, policy=policy, steps=9, **ONCE)
    for step in (0, 1, 2, 8):
        indices = draw_indices(step, batch_size=4, count=10, seed=made.seed)
        authors = policy.authors(step, 4, steps=9, seed=made.seed)
        expected = write_rollouts(
            [EXAMPLES[index] for index in indices], authors, authors=made.authors, step=step
        )
        assert span(made, written(made, step)) == [[*expected.values()]]


def test_updates_learn_from_each_rollout_once_an_epoch_and_from_no_other() -> None:
    student, teacher = build("gpt2"), build("llama", side=Teacher)
    made = parts(student, teacher, **SHARED)
    updates = list(distil(made, build_optimizer(made)))
    for first in (0, 6):
        whole = updates[first].collection
        assert len(whole) == 12
        for epoch in (first, first + 3):
            learnt = [item for each in updates[epoch : epoch + 3] for item in each.rollouts]
            assert sorted(map(id, learnt)) == sorted(map(id, whole))
            assert all(len(each.rollouts) == 4 for each in updates[epoch : epoch + 3])
    assert [bool(update.collection) for update in updates] == [True] * 5 + [False] + [True] * 5 + [
        False
    ]
    assert not {id(item) for item in updates[0].collection} & set(map(id, updates[6].collection))


def test_collections_walk_through_the_data_in_epochs(pair) -> None:
    """Ten prompts, six at a time: five collections are three epochs."""
    made = parts(*pair, **{**SHARED, "steps": 30})
    asked = [
        item.example.id for first in range(0, 30, 6) for item in written(made, first).rollouts[::2]
    ]
    for epoch in (0, 10, 20):
        assert sorted(asked[epoch : epoch + 10]) == sorted(each.id for each in EXAMPLES)


def test_responses_to_one_prompt_stay_together_and_no_two_are_alike(pair) -> None:
    made = parts(*pair, **SHARED)
    collection = written(made, 0)
    for batch in span(made, collection):
        places = numbers(batch, collection)
        assert [place % 2 for place in places] == [0, 1, 0, 1]
        assert [place - place % 2 for place in places[::2]] == [places[0], places[2]]
        for one, other in zip(batch[::2], batch[1::2], strict=True):
            assert one.example is other.example
    texts = Counter(item.response.tokens for item in collection.rollouts)
    assert set(texts.values()) == {1}


def test_a_larger_group_is_all_of_one_prompt_in_draws_of_their_own(pair) -> None:
    made = parts(*pair, batch_size=4, group=4)
    (batch,) = span(made, written(made, 0))
    assert len({item.example.id for item in batch}) == 1
    assert len({item.response.tokens for item in batch}) == 4


def test_the_order_differs_from_epoch_to_epoch_and_depends_on_the_seed_alone(pair) -> None:
    settings = {**SHARED, "group": 1, "inner_epochs": 3}
    orders = []
    for seed in (5, 5, 6):
        made = parts(*pair, seed=seed, **settings)
        collections = [written(made, first) for first in (0, 9)]
        orders.append([numbers(batch, each) for each in collections for batch in span(made, each)])
    first, again, other = orders
    assert first == again
    epochs = [list(chain(*first[start : start + 3])) for start in range(0, 18, 3)]
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert list(range(12)) not in epochs
    assert first != other


def test_one_batch_keeps_its_order_in_every_epoch(pair) -> None:
    """There is nothing to shuffle, and the teacher's reading fits without being sorted anew."""
    made = parts(*pair, **ONCE, inner_epochs=3)
    collection = written(made, 0)
    assert [numbers(batch, collection) for batch in span(made, collection)] == [[0, 1, 2, 3]] * 3


def test_one_coin_is_tossed_for_a_collection(pair) -> None:
    settings = {**ONCE, "collect": 2, "inner_epochs": 2, "steps": 40}
    made = parts(*pair, policy=Mixed(lmbda=0.5, lmbda_end=0.4), **settings)
    tossed = []
    for first in range(0, 40, 4):
        authors = {item.response.author for item in written(made, first).rollouts}
        assert len(authors) == 1
        assert authors == set(made.policy.authors(first, 8, steps=40, seed=made.seed))
        tossed += authors
    assert set(tossed) == {Author.student, Author.dataset}


def count_rows(teacher: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every batch that the teacher reads from now on."""
    rows: list[int] = []
    hidden = teacher.hidden

    def counted(batch):
        rows.append(len(batch.tokens))
        return hidden(batch)

    monkeypatch.setattr(teacher, "hidden", counted)
    return rows


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "alone"])
@pytest.mark.parametrize("name", METHODS)
def test_the_teacher_reads_every_rollout_once(
    name: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its log-probabilities and its hidden states together."""
    student, teacher = build("gpt2"), build("llama", side=Teacher, seed=3)
    loop = {"collect": 2, "inner_epochs": 3} if shared else {}
    made = replace(method(name, student, teacher, steps=12, **loop), other=None)
    # A model is tried once, before it first writes.
    assert all(model.way for model in (student, teacher))
    rows = count_rows(teacher, monkeypatch)
    list(distil(made, build_optimizer(made)))
    collections = 2 if shared else 12
    assert sum(rows) == collections * made.loop.collect * made.loop.batch_size


@pytest.mark.parametrize("name", ["divergence", "minillm", "teacher_mixed", "reward"])
def test_what_is_kept_of_the_teacher_gives_the_gradient_of_reading_again(name: str, pair) -> None:
    """Bit for bit where rows lie side by side as they did, as single rows do."""
    student, teacher = pair
    for budget in (1, 16384):
        made = method(
            name, student, teacher, steps=6, collect=2, inner_epochs=3, micro_batch_tokens=budget
        )
        rollouts, opinions = written(made, 0).batch(made, 1)
        assert len(opinions.opinions) == len(rollouts)
        found = []
        for known in (opinions, UNREAD):
            student.module.eval()
            student.module.zero_grad()
            loss = accumulate(
                rollouts,
                sides=made.sides,
                objective=made.objective,
                loop=made.loop,
                kept=known,
            )
            found.append((loss, gradients(student)))
        (kept, slopes), (again, others) = found
        assert kept == pytest.approx(again, rel=1e-6)
        assert distance(slopes, others) < 1e-6
        if budget == 1:
            assert kept == again
            assert all(torch.equal(slopes[key], others[key]) for key in slopes)
    student.module.zero_grad()


def test_the_teachers_log_probabilities_are_those_of_its_dense_logits(pair) -> None:
    student, teacher = pair
    made = method("sampled_kl", student, teacher, collect=2, examples=EXAMPLES, batch_size=3)
    for item in written(made, 0).rollouts:
        prompt = teacher.prompts.prompt_ids(item.example)
        ids = torch.tensor([[*prompt, *item.response.tokens]])
        with torch.no_grad():
            logits = teacher.module(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        each = logits.double().log_softmax(-1)[
            range(len(item.response.tokens)), list(item.response.tokens)
        ]
        assert item.response.of_teacher == pytest.approx(each.tolist(), abs=1e-5)
        assert item.response.of_student == item.response.log_probs


def test_rewards_are_those_of_each_response_and_a_phase_of_their_own() -> None:
    student, teacher = build("gpt2"), build("llama", side=Teacher)
    made = method("reward", student, teacher, steps=3, inner_epochs=2)
    updates = list(distil(made, build_optimizer(made)))
    asked = []

    def note(answers):
        asked.extend(answers)
        return judge(answers)

    repeated = replace(made, judge=note)
    collection = written(repeated, 0)
    decode = student.tokenizer.decode
    for item, answer in zip(collection.rollouts, asked, strict=True):
        assert item.example is answer.example
        assert answer.text == decode(item.response.tokens, skip_special_tokens=True)
        assert (item.reward,) == tuple(judge([answer]))
    assert len({item.reward for item in collection.rollouts}) > 1
    assert ["reward" in update.seconds for update in updates] == [True, False, True]
    assert ["rollout" in update.seconds for update in updates] == [True, False, True]


def test_the_loss_of_a_second_epoch_sees_the_students_first_steps() -> None:
    """Other weights on the same text; at the first step, ratios are 1 and nothing is clipped."""
    student, teacher = build("gpt2"), build("llama", side=Teacher)
    made = method("minillm", student, teacher, inner_epochs=4, optimizer={"lr": 0.05, "warmup": 0})
    updates = list(distil(made, build_optimizer(made)))
    assert len({tuple(map(id, update.rollouts)) for update in updates}) == 1
    assert len({update.metrics["loss/divergence"] for update in updates}) == 4
    assert updates[0].metrics["clipped_share"] == 0
    assert updates[-1].metrics["clipped_share"] > 0
    assert all(math.isfinite(update.metrics["loss"]) for update in updates)
