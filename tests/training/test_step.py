"""One update: the loss of the definition, whatever the batch is split into."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distillkit.core.errors import RunError
from distillkit.core.seeds import child_seed
from distillkit.core.types import Example
from distillkit.divergences.kl import ForwardKL, ReverseKL
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import PromptStyle, Student, Teacher
from distillkit.models.sampling import Sampling
from distillkit.objectives.comparison import Control
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.sft import SFT
from distillkit.opinions.states import ModelReader
from distillkit.policies.fixed import OffPolicy
from distillkit.supports.full import Full
from distillkit.training.dealing import NO_MATTER, spare_padding, split_rows
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.settings import LoopSettings, Reduction
from distillkit.training.sides import Sides
from distillkit.training.step import accumulate, position_weights
from tests.tiny import CPU, build, distance, gradients, save
from tests.training.parts import EXAMPLES, dense, forward_kl, parts, reverse_kl, rollout

ROLLOUTS = [
    rollout(EXAMPLES[0], [10, 11, 1]),
    rollout(EXAMPLES[1], [20, 21, 22, 23, 24, 25, 26]),
    rollout(EXAMPLES[2], [30]),
    rollout(EXAMPLES[3], [40, 1, 41, 42, 1]),
]
WIDTH = 64
"""More than any row of the batch has."""

all_reductions = pytest.mark.parametrize("reduction", Reduction)


def pair(**teacher: object) -> tuple[LanguageModel, LanguageModel]:
    """A student and a teacher of another family."""
    return build("gpt2", context=256), build("llama", side=Teacher, context=256, **teacher)


def run(
    student: LanguageModel, teacher: LanguageModel | None, objective=None, **loop: object
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of the batch, through ``accumulate``."""
    loss = accumulate(
        ROLLOUTS,
        sides=Sides.of(student, teacher),
        objective=objective or DivergenceObjective(support=Full(), divergence=ForwardKL()),
        loop=LoopSettings(**loop),
    )["loss"]
    return loss, gradients(student)


def first_update(made: Parts):
    """The first update of a run."""
    return next(distil(made, build_optimizer(made)))


@all_reductions
def test_the_loss_and_gradient_are_those_of_the_definition(reduction: Reduction) -> None:
    """Traps 2 and 18: rows of different prompt lengths against full logits, token by token."""
    student, teacher = pair()
    loss, gradient = run(student, teacher, reduction=reduction)
    expected = dense(
        ROLLOUTS, student=student, teacher=teacher, value=forward_kl, reduction=reduction
    )
    assert loss == pytest.approx(expected[0], rel=1e-5)
    assert distance(gradient, expected[1]) < 1e-5


def test_a_hand_built_batch_of_two_rows_matches_the_oracle_at_each_token() -> None:
    """Trap 18: with one token kept at a time, no error can hide in the sum of others."""
    student, teacher = pair()
    for length in range(1, 5):
        rows = [rollout(EXAMPLES[0], [10] * length), rollout(EXAMPLES[1], [20, 1, 21][:length])]
        objective = DivergenceObjective(support=Full(), divergence=ReverseKL())
        sides = Sides.of(student, teacher)
        loss = accumulate(rows, sides=sides, objective=objective, loop=LoopSettings())["loss"]
        expected, _ = dense(rows, student=student, teacher=teacher, value=reverse_kl)
        assert loss == pytest.approx(expected, rel=1e-5)


def test_each_model_sees_its_own_prompt_format_and_the_same_response() -> None:
    """Trap 21: an Alpaca teacher above a plain student; and it matters."""
    student, teacher = pair(prompt=PromptStyle.alpaca)
    formats = [side.prompts.prompt_ids(EXAMPLES[0]) for side in (student, teacher)]
    assert len(formats[1]) > len(formats[0]) + 20
    loss, gradient = run(student, teacher)
    expected = dense(ROLLOUTS, student=student, teacher=teacher, value=forward_kl)
    assert loss == pytest.approx(expected[0], rel=1e-5)
    assert distance(gradient, expected[1]) < 1e-5
    plain = run(*pair())
    assert abs(plain[0] - loss) > 1e-3


@all_reductions
@pytest.mark.parametrize("kind", ["divergence", "sft"])
def test_any_number_of_micro_batches_gives_the_same_gradient(
    kind: str, reduction: Reduction
) -> None:
    """Trap 2: the rows differ in length, so means of micro-batch means would differ.

    The bodies are widened to float64, so that nothing but the split could make a difference.
    """
    objective = SFT() if kind == "sft" else None
    prompts = [build("gpt2").prompts.prompt_ids(item.example) for item in ROLLOUTS]
    widths = [len(p) + len(r.response.tokens) for p, r in zip(prompts, ROLLOUTS, strict=True)]
    results = {}
    for budget in (4 * WIDTH, 2 * sorted(widths)[1], 1):
        groups, sides = len(split_rows(widths, budget, spare=1000)), pair()
        for side in sides:
            side.module.double()
        results[groups] = run(
            *sides, objective=objective, micro_batch_tokens=budget, reduction=reduction
        )
    assert {1, 4} < set(results)
    whole = results.pop(1)
    for loss, gradient in results.values():
        assert loss == pytest.approx(whole[0], rel=1e-6)
        assert distance(gradient, whole[1]) < 1e-6


def test_the_reductions_differ_where_lengths_do() -> None:
    """Trap 2: otherwise the option would be decoration."""
    losses = [run(*pair(), reduction=reduction)[0] for reduction in Reduction]
    for left, right in itertools.combinations(losses, 2):
        assert abs(left - right) > 1e-3


def test_weights_are_counted_over_the_global_batch_and_add_up_to_one() -> None:
    lengths = [3, 7, 1, 5]
    assert position_weights(lengths, Reduction.token_mean) == [1 / 16] * 4
    sequence = position_weights(lengths, Reduction.sequence_mean)
    assert sequence == [1 / 12, 1 / 28, 1 / 4, 1 / 20]
    assert position_weights(lengths, Reduction.sequence_sum) == [1 / 4] * 4


@pytest.mark.parametrize("budget", [1, 10, 17, 40, 10_000])
def test_every_row_is_in_one_group_and_groups_stay_within_the_budget(budget: int) -> None:
    lengths = [9, 3, 3, 8, 20, 1, 5, 5, 5]
    groups = split_rows(lengths, budget, spare=1000)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        padded = len(group) * max(lengths[row] for row in group)
        assert padded <= budget or len(group) == 1


def long_answers(examples: list[Example]) -> list[Example]:
    """The same prompts with references several times as long."""
    return [
        dataclasses.replace(item, reference=item.reference * 4 + " and more") for item in examples
    ]


@all_reductions
def test_the_on_policy_loss_does_not_know_the_length_of_the_datasets_answers(
    reduction: Reduction,
) -> None:
    """Trap 1: the denominator is counted after the student has written."""
    updates = []
    for examples in (EXAMPLES, long_answers(EXAMPLES)):
        student, teacher = pair()
        made = parts(student, teacher, examples=examples, reduction=reduction)
        updates.append(first_update(made))
    short, long = updates
    assert short.metrics == long.metrics
    written = [item.response.tokens for item in short.rollouts]
    assert written == [item.response.tokens for item in long.rollouts]
    student, teacher = pair()
    expected, _ = dense(
        short.rollouts, student=student, teacher=teacher, value=forward_kl, reduction=reduction
    )
    assert short.metrics["loss"] == pytest.approx(expected, rel=1e-5)
    assert short.metrics["tokens"] == sum(map(len, written))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_ids_that_were_sampled_are_scored_as_they_are_and_at_temperature_one(
    temperature: float,
) -> None:
    """Traps 24 and 26: no round trip through text, no sampling temperature in the loss."""
    sampling = Sampling(max_new_tokens=8, temperature=temperature)
    student, teacher = pair()
    made = parts(student, teacher, sampling=sampling)
    update = first_update(made)
    twin, _ = pair()
    prompts = [twin.prompts.prompt_ids(item.example) for item in update.rollouts]
    sampled = generate(twin, prompts, sampling, seed=child_seed(made.seed, "rollout", 0))
    assert [item.response.tokens for item in update.rollouts] == [text.tokens for text in sampled]
    read_again = [tuple(twin.tokenizer.encode(twin.tokenizer.decode(t.tokens))) for t in sampled]
    assert read_again != [text.tokens for text in sampled]
    expected, _ = dense(update.rollouts, student=twin, teacher=teacher, value=forward_kl)
    assert update.metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_how_the_student_would_write_does_not_touch_the_loss_on_the_datasets_text() -> None:
    """Trap 24."""
    metrics = [
        first_update(
            parts(*pair(), policy=OffPolicy(), sampling=Sampling(temperature=temperature))
        ).metrics
        for temperature in (0.3, 1.0, 3.0)
    ]
    assert metrics[0] == metrics[1] == metrics[2]


def test_a_student_that_is_its_teacher_has_no_loss_and_no_gradient() -> None:
    """Trap 32."""
    student, teacher = build("gpt2"), build("gpt2", side=Teacher)
    update = first_update(parts(student, teacher))
    assert abs(update.metrics["loss"]) < 1e-6
    assert update.metrics["grad_norm"] < 1e-5


def test_a_shuffled_teacher_changes_the_update() -> None:
    """Trap 32: the teacher's signal reaches the student."""
    losses = []
    for control in Control:
        objective = DivergenceObjective(support=Full(), divergence=ForwardKL(), control=control)
        losses.append(first_update(parts(*pair(), objective=objective)).metrics["loss"])
    assert abs(losses[0] - losses[1]) > 0.01


def test_gradient_checkpointing_changes_no_gradient(tmp_path: Path) -> None:
    save(tmp_path, "llama", context=256)
    results = []
    for asked in (False, True):
        source = Student(name=str(tmp_path), gradient_checkpointing=asked)
        student = load(source, device=CPU, precision="fp32")
        results.append(run(student, build("gpt2", context=256, side=Teacher)))
    assert results[0][0] == results[1][0]
    assert distance(results[1][1], results[0][1]) < 1e-6


def test_sft_needs_no_teacher() -> None:
    """And gives what forward KL gives under a teacher that is sure of the dataset's tokens."""
    student, _ = pair()
    loss, _ = run(student, None, objective=SFT())
    total = sum(len(item.response.tokens) for item in ROLLOUTS)
    nll = torch.zeros(())
    for item in ROLLOUTS:
        prompt, tokens = student.prompts.prompt_ids(item.example), item.response.tokens
        with torch.no_grad():
            logits = student.module(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
        logp = logits[len(prompt) - 1 : -1].log_softmax(-1)
        nll -= logp[range(len(tokens)), list(tokens)].sum()
    assert loss == pytest.approx(nll.item() / total, rel=1e-5)


def test_a_gradient_is_clipped_to_the_norm_asked_for() -> None:
    student, teacher = pair()
    made = parts(student, teacher, max_grad_norm=1e-3)
    assert first_update(made).metrics["grad_norm"] > 0.1
    norm = torch.stack([p.grad.square().sum() for p in student.parameters()]).sum().sqrt()
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run_before_it_harms_the_student() -> None:
    student, teacher = pair()
    with torch.no_grad():
        teacher.head.weight[5, 0] = float("nan")
    before = student.head.weight.clone()
    with pytest.raises(RunError, match="not finite at step 1"):
        first_update(parts(student, teacher))
    assert torch.equal(student.head.weight, before)


def test_matrices_decay_and_vectors_do_not() -> None:
    student, teacher = pair()
    made = parts(student, teacher, optimizer={"weight_decay": 0.3})
    matrices, vectors = build_optimizer(made).param_groups
    assert matrices["weight_decay"] == 0.3
    assert vectors["weight_decay"] == 0
    assert {p.ndim for p in vectors["params"]} == {1}
    count = len(matrices["params"]) + len(vectors["params"])
    assert count == len(list(student.module.parameters()))


def test_a_row_that_would_pad_the_others_too_much_begins_a_group() -> None:
    assert split_rows([10, 30, 11, 12], 1000, spare=20) == [[0, 2, 3], [1]]
    assert split_rows([10, 30, 11, 12], 1000, spare=54) == [[0, 2, 3, 1]]
    assert split_rows([10, 30, 11, 12], 1000, spare=53) == [[0, 2, 3], [1]]


def test_padding_counts_for_whoever_reads_it() -> None:
    """A student that goes end to end beside a teacher that does not."""
    student, packed, padded = build("llama"), build("qwen2", side=Teacher), build("gpt2")
    assert (student.packs, packed.packs, padded.packs) == (True, True, False)
    assert spare_padding(student, ModelReader(packed)) == NO_MATTER
    beside, alone = spare_padding(student, ModelReader(padded)), spare_padding(padded, None)
    assert beside == pytest.approx(4 * alone, rel=1e-3)
    assert beside < NO_MATTER


def test_an_updates_seconds_are_accounted_for_by_phase() -> None:
    update = first_update(parts(*pair()))
    assert set(update.seconds) == {"rollout", "teacher", "student", "loss", "optimizer"}
    assert all(spent > 0 for spent in update.seconds.values())


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
def test_rows_end_to_end_give_the_gradient_of_padded_rows(family: str, monkeypatch) -> None:
    """What flash and flex attention run on CUDA, here through sdpa: no row sees another."""
    results = []
    for packs in (False, True):
        student = build(family, context=256)
        teacher = build("llama", side=Teacher, context=256, seed=3)
        monkeypatch.setattr(LanguageModel, "packs", packs)
        results.append(run(student, teacher))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    assert distance(results[1][1], results[0][1]) < 1e-5
