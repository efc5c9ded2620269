"""Two real processes joined by gloo take the step that one alone takes."""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.distributed.placement import Placement
from distillkit.distributed.replicas import Replicas
from distillkit.divergences.jsd import JensenShannon
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.supports.full import Full
from distillkit.training.authors import Part
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.rollout_file import load_rollouts, save_rollouts
from distillkit.training.settings import LoopSettings
from distillkit.training.sides import Sides
from distillkit.training.step import accumulate
from tests.conftest import Start
from tests.forking import ROOT
from tests.tiny import CPU, distance, gradients, save
from tests.training.methods import METHODS, method
from tests.training.parts import EXAMPLES, parts
from tests.training.test_step import ROLLOUTS

SAME = [replace(EXAMPLES[0], id=str(number)) for number in range(4)]
"""One prompt four times, so that only the draws tell the responses apart."""


SHARED = {"collect": 2, "inner_epochs": 2, "group": 2, "batch_size": 4, "max_grad_norm": 1e9}
"""Two prompts a batch with two responses each, of which each process writes one."""


def pair(folder: Path) -> tuple[LanguageModel, LanguageModel]:
    """The same student and teacher in every process."""
    student, teacher = Student(name=str(folder / "s")), Teacher(name=str(folder / "t"))
    return (
        load(student, device=CPU, precision="fp32"),
        load(teacher, device=CPU, precision="fp32"),
    )


def gradient(
    folder: Path, placement: Placement, **loop: int
) -> tuple[float, dict[str, torch.Tensor]]:
    student, teacher = pair(folder)
    numbers = accumulate(
        ROLLOUTS,
        sides=Sides.of(student, teacher),
        objective=DivergenceObjective(support=Full(), divergence=JensenShannon()),
        loop=LoopSettings(**loop),
        placement=placement,
    )
    placement.reduce_and_clip(student.parameters(), 1e9)
    return placement.add_up(numbers)["loss"], gradients(student)


def collected(folder: Path, name: str) -> Parts:
    """A run whose first four updates share their rollouts."""
    return method(name, *pair(folder), steps=4, **SHARED)


def outcome(made: Parts) -> tuple[dict[str, Any], Sequence[Rollout]]:
    """What came of it, and the rollouts."""
    student = made.sides.student
    updates = distil(made, build_optimizer(made))
    first = next(updates)
    slopes = gradients(student)
    every = [first, *updates]
    found = {
        "gradient": slopes,
        "metrics": [update.metrics for update in every],
        "texts": [[item.response.tokens for item in update.rollouts] for update in every],
        "weights": student.module.state_dict(),
    }
    return found, first.collection


def work(rank: int, folder: Path) -> None:
    """What each of two processes does; it leaves its results in the folder."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=(folder / "port").read_text())
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    placement = Replicas(rank=rank, size=2)
    found = gradient(folder, placement)
    made = replace(parts(*pair(folder), steps=2, examples=SAME), placement=placement)
    updates = list(distil(made, build_optimizer(made)))
    weights = made.sides.student.module.state_dict()
    metrics = [update.metrics for update in updates]
    texts = [[item.response.tokens for item in update.rollouts] for update in updates]
    torch.save((found, metrics, texts, weights), folder / f"{rank}.pt")
    for name in METHODS:
        made = replace(collected(folder, name), placement=placement)
        what, rollouts = outcome(made)
        save_rollouts(folder / f"{name}-{rank}.jsonl", rollouts)
        torch.save(what, folder / f"{name}-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(started: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    folder = tmp_path_factory.mktemp("ranks")
    save(folder / "s", "gpt2", context=256)
    save(folder / "t", "llama", context=256, seed=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (folder / "port").write_text(str(free.getsockname()[1]))
    ranks = [started(rank, folder, folder=ROOT, module=__name__) for rank in "01"]
    said = [rank.communicate()[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("budget", [16384, 120, 40])
def test_two_processes_and_any_micro_batches_give_the_gradient_of_one(results, budget: int) -> None:
    """Traps 2 and 3: the weights are those of the global batch, whoever scores a row."""
    folder, (first, second) = results
    loss, expected = gradient(folder, Placement(), micro_batch_tokens=budget)
    for (found, slopes), *_ in (first, second):
        assert found == pytest.approx(loss, rel=1e-6)
        assert distance(slopes, expected) < 1e-6


def test_processes_agree_on_text_numbers_and_weights_after_steps(results) -> None:
    """Trap 3: parameters are equal after a step, and each process wrote half of the text."""
    _, ((_, metrics, texts, weights), (_, others, their_texts, their_weights)) = results
    assert metrics == others
    assert texts == their_texts
    for rows in texts:
        assert len(set(rows)) == len(SAME), "two processes drew the same numbers"
    for name, weight in weights.items():
        assert torch.equal(weight, their_weights[name])


class Again:
    """Writes what has been written before, in its order."""

    def __init__(self, responses: Sequence[Response]) -> None:
        self._responses = list(responses)

    def write(
        self, examples: Sequence[Example], *, step: int, part: Part | None = None
    ) -> list[Response]:
        assert len(examples) == len(self._responses)
        return self._responses


@pytest.mark.parametrize("name", METHODS)
def test_processes_that_share_collections_do_what_one_does_with_the_same_text(
    name: str, results
) -> None:
    """Traps 2 and 3: a group is written by both, and its baseline is that of all of it."""
    folder, _ = results
    first, second = (torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1))
    for key in ("metrics", "texts"):
        assert first[key] == second[key]
    for key in ("gradient", "weights"):
        assert all(torch.equal(first[key][item], second[key][item]) for item in first[key])
    files = [folder / f"{name}-{rank}.jsonl" for rank in (0, 1)]
    assert files[0].read_bytes() == files[1].read_bytes()
    rollouts = load_rollouts(files[0], EXAMPLES)

    made = collected(folder, name)
    named = made.policy.authors(0, len(rollouts), steps=4, seed=made.seed)
    responses = [item.response for item in rollouts]
    assert [response.author for response in responses] == named
    unread = [
        response if response.author is Author.mixture else replace(response, of_teacher=())
        for response in responses
    ]
    authors = {
        author: Again([response for response in unread if response.author is author])
        for author in set(named)
    }
    alone, again = outcome(replace(made, authors=authors))
    assert alone["texts"] == first["texts"]
    for one, other in zip(again, rollouts, strict=True):
        assert one.reward == other.reward
        assert one.response.of_teacher == pytest.approx(other.response.of_teacher, abs=1e-5)
    assert distance(first["gradient"], alone["gradient"]) < 1e-5
    for ours, theirs in zip(first["metrics"], alone["metrics"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def test_a_group_is_torn_apart_by_two_processes_and_rewarded_as_one(results) -> None:
    """Otherwise the test before would not see what a baseline of each process's own does."""
    folder, _ = results
    rollouts = load_rollouts(folder / "reward-0.jsonl", EXAMPLES)
    for one, other in zip(rollouts[::2], rollouts[1::2], strict=True):
        assert one.example is other.example
        assert one.response.tokens != other.response.tokens
    assert any(
        one.reward != other.reward for one, other in zip(rollouts[::2], rollouts[1::2], strict=True)
    )


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
