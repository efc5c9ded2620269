"""What a draft learns from serving: the right labels at the right positions, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from distillkit.core.types import Author
from distillkit.divergences.kl import ForwardKL
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.models.side import Ready
from distillkit.models.speculation import Speculated, Speculator
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.online.draft import Learning, OnlineDraft
from distillkit.online.probes import Probes
from distillkit.online.records import Buffer, Record
from distillkit.online.requests import Request
from distillkit.online.routing import ALL
from distillkit.online.serving import Server, Service
from distillkit.online.settings import BufferSettings, UpdateSettings
from distillkit.policies.base import Policy
from distillkit.policies.fixed import OnPolicy, SeqKD
from distillkit.policies.teacher_mixed import TeacherMixed
from distillkit.supports.full import Full
from distillkit.supports.top_k import TeacherTopK
from distillkit.training.settings import OptimizerSettings, Shape
from tests.models.exact import next_logits, softmax
from tests.tiny import build, example

EVERY = 382
SAMPLING = Sampling(max_new_tokens=6)


def pair() -> tuple[LanguageModel, LanguageModel]:
    target, student = build("qwen3", seed=3), build("llama", seed=4)
    for model in (target, student):
        model.stop_ids = frozenset(range(1, EVERY, 7))
    return target, student


def learning(
    support: Full | TeacherTopK, policy: Policy | None = None, **update: float
) -> Learning:
    return Learning(
        objective=DivergenceObjective(divergence=ForwardKL(), support=support),
        policy=policy or SeqKD(),
        update=UpdateSettings(**update),
        optimizer=OptimizerSettings(lr=1e-2, schedule=Shape.constant, warmup=0.0),
        rollout=SAMPLING,
        updates=10,
        seed=0,
    )


EXAMPLES = [example(question) for question in ("Tom has 3.", "And then?", "12 + 30 = ?", "Why?")]


def requests() -> list[Request]:
    return [Request(index, "a", each) for index, each in enumerate(EXAMPLES)]


def served(
    target: LanguageModel, student: LanguageModel, labels: int = EVERY
) -> tuple[list[Speculated], list[Record]]:
    speculator = Speculator(Ready(target), Ready(student), k=3, labels=labels)
    told = speculator.write(
        target.prompts.of(EXAMPLES),
        student.prompts.of(EXAMPLES),
        SAMPLING,
        seed=5,
        author=Author.teacher,
    )
    return told, [Record.of(*each) for each in zip(requests(), told, strict=True)]


def oracle(
    target: LanguageModel, student: LanguageModel, records: list[Record], weights: list[list[float]]
) -> float:
    """Weighted mean of KL(target, draft) at every token, prefix by prefix, in float64."""
    total = 0.0
    for record, row in zip(records, weights, strict=True):
        for place, weight in enumerate(row):
            before = record.response.tokens[:place]
            p, q = (
                softmax(next_logits(model, [[*model.prompts.prompt_ids(record.example), *before]]))[
                    0
                ]
                for model in (target, student)
            )
            total += weight * float((p * (np.log(p) - np.log(q))).sum())
    return total / sum(map(sum, weights))


def test_the_labels_of_verification_teach_what_reading_the_text_again_teaches() -> None:
    """The label of a rejected proposal belongs to the prefix before it, not to the token itself."""
    found = []
    for support, labels in ((TeacherTopK(k=EVERY), EVERY), (Full(), 0)):
        target, student = pair()
        told, records = served(target, student, labels)
        assert any(sum(record.rejected) for record in records)
        expected = oracle(
            target, student, records, [[1.0] * len(each.response.tokens) for each in told]
        )
        draft = OnlineDraft(ALL, student, target, learning(support))
        assert draft.learn(records)["loss"] == pytest.approx(expected, rel=1e-5)
        found.append({name: each.grad for name, each in student.module.named_parameters()})
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], rtol=1e-4, atol=1e-6), name


def test_rejected_positions_may_weigh_more_or_alone() -> None:
    for rejected, others in ((3.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        target, student = pair()
        _, records = served(target, student)
        weights = [[rejected if each else others for each in record.rejected] for record in records]
        expected = oracle(target, student, records, weights)
        settings = learning(TeacherTopK(k=EVERY), rejected=rejected, others=others)
        found = OnlineDraft(ALL, student, target, settings).learn(records)
        assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_split_into_micro_batches_changes_nothing() -> None:
    found = []
    for tokens in (16384, 1):
        target, student = pair()
        _, records = served(target, student)
        settings = learning(TeacherTopK(k=16), micro_batch_tokens=tokens)
        found.append(OnlineDraft(ALL, student, target, settings).learn(records))
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-5)
    assert found[0]["grad_norm"] == pytest.approx(found[1]["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("policy", [OnPolicy(), TeacherMixed(alpha=0.5)])
def test_a_draft_may_learn_from_its_own_text_or_a_mixture(policy: Policy) -> None:
    target, student = pair()
    _, records = served(target, student)
    draft = OnlineDraft(ALL, student, target, learning(Full(), policy))
    before = [each.clone() for each in student.parameters()]
    losses = [draft.learn(records)["loss"] for _ in range(6)]
    assert losses[-1] < losses[0]
    assert draft.version == 6
    pairs = zip(before, student.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)


def server(
    target: LanguageModel, student: LanguageModel, *, labels: int = EVERY, **update: float | None
) -> Server:
    settings = learning(TeacherTopK(k=EVERY))
    service = Service(
        target=target,
        sampling=SAMPLING,
        proposals=3,
        labels=labels,
        route=lambda _: ALL,
        update=UpdateSettings(**update),
        seed=0,
    )
    draft = OnlineDraft(ALL, student, target, settings)
    return Server(service, {ALL: draft}, {ALL: Buffer(BufferSettings(), seed=0)})


def test_a_draft_learns_when_enough_waits_and_proposes_better_then() -> None:
    target, student = pair()
    serving = server(target, student, interval=8)
    alphas, versions = [], []
    for _ in range(60):
        rows = [each.row() for each in serving.serve(requests())]
        alphas.append(sum(row["overlap"] for row in rows) / sum(row["verified"] for row in rows))
        versions.append(rows[0]["version"])
        for update in serving.learn():
            assert update["records"] == 8
    assert versions[:5] == [0, 0, 1, 1, 2]
    assert np.mean(alphas[-10:]) > np.mean(alphas[:10]) + 0.1
    assert serving.buffers[ALL].size == 0


def test_a_draft_that_never_learns_stays_as_it_is_and_nothing_is_kept() -> None:
    target, student = pair()
    before = [each.clone() for each in student.parameters()]
    serving = server(target, student, labels=0, interval=None)
    for _ in range(3):
        serving.serve(requests())
        assert list(serving.learn()) == []
    assert serving.buffers[ALL].size == 0
    assert all(torch.equal(*each) for each in zip(before, student.parameters(), strict=True))


def test_time_may_be_what_an_update_waits_for() -> None:
    target, student = pair()
    serving = server(target, student, interval=1000, seconds=1e-9)
    serving.serve(requests())
    assert [row["records"] for row in serving.learn()] == [4]


def record(number: int) -> Record:
    _, records = RECORDS
    return replace(records[0], request=number)


RECORDS = served(*pair())


def test_a_buffer_forgets_what_was_learned_unless_it_is_to_be_replayed() -> None:
    buffer = Buffer(BufferSettings(), seed=0)
    buffer.add([record(0), record(1)])
    assert buffer.size == 2 * record(0).size > 0
    assert [each.request for each in buffer.take(0)] == [0, 1]
    assert buffer.size == 0


def test_a_share_of_an_update_is_old_and_the_oldest_leave() -> None:
    settings = BufferSettings(replay=0.5, capacity=6, keep=True)
    buffer, again = (Buffer(settings, seed=0) for _ in range(2))
    for update in range(5):
        for each in (buffer, again):
            each.add([record(4 * update + row) for row in range(4)])
        seen = [each.request for each in buffer.take(update)]
        assert seen == [each.request for each in again.take(update)]
        new, old = seen[:4], seen[4:]
        assert new == [4 * update + row for row in range(4)]
        assert len(old) == (4 if update else 0)
        assert len({*old}) == len(old)
        assert all(4 * update - 6 <= number < 4 * update for number in old)
    assert [each.request for each in buffer.old] == [14, 15, 16, 17, 18, 19]
    assert buffer.size == 6 * record(0).size


def test_a_text_that_the_draft_cannot_read_whole_teaches_it_nothing() -> None:
    target, student = pair()
    _, records = served(target, student)
    widths = [student.prompt_length(each.example) + len(each.response.tokens) for each in records]
    student.context = sorted(widths)[1]
    kept = [each for each, width in zip(records, widths, strict=True) if width <= student.context]
    assert 0 < len(kept) < len(records)
    expected = oracle(target, student, kept, [[1.0] * len(each.response.tokens) for each in kept])
    found = OnlineDraft(ALL, student, target, learning(TeacherTopK(k=EVERY))).learn(records)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_probes_tell_the_mean_chance_of_acceptance_on_the_targets_text() -> None:
    target, student = pair()
    held = {"a": EXAMPLES[:2], "b": EXAMPLES[2:]}
    for sampling in (SAMPLING, Sampling(max_new_tokens=6, temperature=0.0)):
        probes = Probes(target, held, sampling, seed=0, poll=lambda: None)
        expected = {
            domain: np.mean(
                [chance for part in parts for chance in chances(part, target, student, sampling)]
            )
            for domain, parts in probes._parts.items()
        }
        assert probes.alphas(student) == pytest.approx(expected, rel=1e-4)
        assert probes.alphas(target) == pytest.approx({"a": 1.0, "b": 1.0}, rel=1e-5)


def chances(
    part: object, target: LanguageModel, student: LanguageModel, sampling: Sampling
) -> list[float]:
    found = []
    for rollout in part.rollouts:
        for place in range(len(rollout.response.tokens)):
            before = rollout.response.tokens[:place]
            logits = [
                next_logits(model, [[*model.prompts.prompt_ids(rollout.example), *before]])[0]
                for model in (target, student)
            ]
            if sampling.temperature == 0:
                found.append(float(logits[0].argmax() == logits[1].argmax()))
            else:
                found.append(float(np.minimum(*map(softmax, logits)).sum()))
    return found
