"""Text of its own beside the rollouts: one more term of the loss, in epochs of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distillkit.core.errors import DataError
from distillkit.core.types import Author, Rollout
from distillkit.datasets.jsonl import JsonLines
from distillkit.models.language_model import LanguageModel
from distillkit.models.pretrained import Teacher
from distillkit.objectives.base import Beside
from distillkit.objectives.minillm import MiniLLM
from distillkit.objectives.sft import SFT
from distillkit.training.authors import DatasetAuthor
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import OtherText, other_text
from distillkit.training.settings import Reduction
from distillkit.training.sides import Sides
from tests.tiny import build, distance, example, gradients
from tests.training.methods import PASSAGES
from tests.training.parts import dense, forward_kl, parts, reverse_kl

WEIGHT = 0.7


def pair() -> tuple[LanguageModel, LanguageModel]:
    return build("gpt2"), build("llama", side=Teacher, seed=3)


def cross_entropy(rollouts: list[Rollout], reduction: Reduction) -> tuple[float, dict[str, Tensor]]:
    """Of the text under a student as it is at first, by autograd in float64."""
    student, _ = pair()
    module = student.module.double()
    terms = []
    for item in rollouts:
        prompt, tokens = student.prompts.prompt_ids(item.example), item.response.tokens
        logits = module(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
        each = logits[len(prompt) - 1 : -1].log_softmax(-1)[range(len(tokens)), list(tokens)]
        terms.append(-each)
    loss = {
        Reduction.token_mean: torch.cat(terms).mean(),
        Reduction.sequence_mean: torch.stack([term.mean() for term in terms]).mean(),
        Reduction.sequence_sum: torch.stack([term.sum() for term in terms]).mean(),
    }[reduction]
    module.zero_grad()
    loss.backward()
    return loss.item(), gradients(student)


@pytest.mark.parametrize("reduction", Reduction)
@pytest.mark.parametrize("kd", [0.0, 0.25])
def test_the_gradient_is_that_of_the_loss_and_of_the_weighted_text(
    reduction: Reduction, kd: float
) -> None:
    """With gamma 0 the first part is the exact reverse KL alone."""
    student, teacher = pair()
    objective = MiniLLM(gamma=0, pretraining=WEIGHT, pretraining_kd=kd)
    made = parts(
        student, teacher, objective=objective, reduction=reduction, batch_size=2, max_grad_norm=1e9
    )
    beside = objective.beside()
    assert beside is not None
    made = replace(
        made, other=OtherText(beside, PASSAGES, DatasetAuthor(student, [student, teacher]))
    )
    seen = []
    writer = made.other.author
    write = writer.write
    writer.write = lambda examples, *, step: seen.append(examples) or write(examples, step=step)
    update = next(distil(made, build_optimizer(made)))
    found = gradients(student)

    student, _ = pair()
    text = [Rollout(asked, *write([asked], step=0)) for asked in seen[0]]
    assert len(text) == 2
    assert all(item.response.author is Author.dataset for item in text)
    common = {"student": student, "teacher": teacher, "reduction": reduction}
    loss, slopes = dense(update.rollouts, value=reverse_kl, **common)
    ce, more = cross_entropy(text, reduction)
    kl, even_more = dense(text, value=forward_kl, **common)
    expected = {
        name: slopes[name] + WEIGHT * ((1 - kd) * more[name] + kd * even_more[name])
        for name in slopes
    }
    term = WEIGHT * ((1 - kd) * ce + kd * kl)
    assert update.metrics["loss/pretraining"] == pytest.approx(term, rel=1e-5)
    assert update.metrics["loss/divergence"] == pytest.approx(loss, rel=1e-5)
    assert update.metrics["loss"] == pytest.approx(loss + term, rel=1e-5)
    assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("shared", [{}, {"collect": 2, "inner_epochs": 2}])
def test_its_batches_walk_through_it_in_epochs_of_its_own(shared: dict[str, int]) -> None:
    """Whatever the rollouts do; and not in their order."""
    texts = [example(f"Text {number}", f" {number}.") for number in range(5)]
    student, teacher = pair()
    made = parts(student, teacher, examples=texts, batch_size=2, steps=15, **shared)
    other = OtherText(Beside(SFT(), 1.0), texts, DatasetAuthor(student, [student, teacher]))
    drawn = [
        item.example.id
        for step in range(15)
        for item in other.rollouts(step, batch_size=2, seed=made.seed)
    ]
    orders = [drawn[start : start + 5] for start in range(0, 30, 5)]
    assert all(sorted(order) == sorted(each.id for each in texts) for order in orders)
    assert len({tuple(order) for order in orders}) > 3


def test_each_update_reads_new_text_while_it_reads_its_rollouts_again() -> None:
    texts = [example(f"Text {number}", f" {number}.") for number in range(8)]
    student, teacher = pair()
    made = parts(student, teacher, objective=MiniLLM(), batch_size=2, inner_epochs=4)
    seen: list[str] = []

    class Noting(DatasetAuthor):
        def write(self, examples, *, step, part=None):
            seen.extend(item.id for item in examples)
            return DatasetAuthor.write(self, examples, step=step)

    other = OtherText(Beside(SFT(), 1.0), texts, Noting(student, [student, teacher]))
    list(distil(replace(made, other=other), build_optimizer(made)))
    assert sorted(seen) == sorted(item.id for item in texts)


def dataset(folder: Path, *rows: str) -> JsonLines:
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(f"{row}\n" for row in rows))
    return JsonLines(path=str(folder))


def test_text_that_cannot_be_learnt_is_refused_by_its_row(tmp_path: Path) -> None:
    student, teacher = pair()
    sides = Sides.of(student, teacher)
    fine = '{"id": "fine", "prompt": "A", "response": "b"}'
    long = f'{{"id": "long", "prompt": "{"word " * 80}", "response": "b"}}'
    empty = '{"id": "empty", "prompt": "A", "response": ""}'
    assert other_text(MiniLLM(), dataset(tmp_path, fine), sides=sides) is not None
    words = r"long of dataset@dataset_pt=jsonl has \d+ tokens, .* context of 64"
    with pytest.raises(DataError, match=words):
        other_text(MiniLLM(), dataset(tmp_path, fine, long), sides=sides)
    with pytest.raises(DataError, match="empty of dataset@dataset_pt=jsonl has no reference"):
        other_text(MiniLLM(), dataset(tmp_path, fine, empty), sides=sides)


def test_there_is_none_where_it_has_no_weight_or_no_source(tmp_path: Path) -> None:
    sides = Sides.of(*pair())
    rows = dataset(tmp_path, '{"prompt": "A", "response": "b"}')
    assert other_text(MiniLLM(), None, sides=sides) is None
    assert other_text(MiniLLM(pretraining=0), rows, sides=sides) is None
    assert other_text(SFT(), rows, sides=sides) is None
