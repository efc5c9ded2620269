"""Two real processes joined by gloo take the step that one alone takes."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from distillkit.divergences.jsd import JensenShannon
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import Student, Teacher
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.supports.full import Full
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.ranks import Ranks
from distillkit.training.settings import LoopSettings
from distillkit.training.step import Sides, accumulate
from tests.tiny import CPU, distance, gradients, save
from tests.training.parts import EXAMPLES, parts
from tests.training.test_step import ROLLOUTS

SAME = [replace(EXAMPLES[0], id=str(number)) for number in range(4)]
"""One prompt four times, so that only the draws tell the responses apart."""


def pair(folder: Path) -> tuple[LanguageModel, LanguageModel]:
    """The same student and teacher in every process."""
    student, teacher = Student(name=str(folder / "s")), Teacher(name=str(folder / "t"))
    return (
        load(student, device=CPU, precision="fp32"),
        load(teacher, device=CPU, precision="fp32"),
    )


def gradient(folder: Path, ranks: Ranks, **loop: int) -> tuple[float, dict[str, torch.Tensor]]:
    student, teacher = pair(folder)
    numbers = accumulate(
        ROLLOUTS,
        sides=Sides(student=student, teacher=teacher),
        objective=DivergenceObjective(support=Full(), divergence=JensenShannon()),
        loop=LoopSettings(**loop),
        ranks=ranks,
    )
    return ranks.add_up(student.parameters(), numbers)["loss"], gradients(student)


def work(rank: int, folder: Path) -> None:
    """What each of two processes does; it leaves its results in the folder."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=(folder / "port").read_text())
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    ranks = Ranks(rank=rank, size=2)
    found = gradient(folder, ranks)
    made = replace(parts(*pair(folder), steps=2, examples=SAME), ranks=ranks)
    updates = list(distil(made, build_optimizer(made)))
    weights = made.sides.student.module.state_dict()
    metrics = [update.metrics for update in updates]
    texts = [[item.response.tokens for item in update.rollouts] for update in updates]
    torch.save((found, metrics, texts, weights), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    folder = tmp_path_factory.mktemp("ranks")
    save(folder / "s", "gpt2", context=256)
    save(folder / "t", "llama", context=256, seed=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (folder / "port").write_text(str(free.getsockname()[1]))
    processes.spawn(work, args=(folder,), nprocs=2)
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("budget", [16384, 120, 40])
def test_two_processes_and_any_micro_batches_give_the_gradient_of_one(results, budget: int) -> None:
    """Traps 2 and 3: the weights are those of the global batch, whoever scores a row."""
    folder, (first, second) = results
    loss, expected = gradient(folder, Ranks(), micro_batch_tokens=budget)
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
