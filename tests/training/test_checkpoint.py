"""Checkpoints: all of the state, bit for bit, and never a damaged one."""

import copy
import itertools
from pathlib import Path

import pytest
import torch

from distillkit.core.errors import RunError
from distillkit.models.pretrained import Teacher
from distillkit.policies.mixed import Draw, Mixed
from distillkit.training.checkpoint import (
    Progress,
    keep_newest,
    newest_checkpoint,
    save_checkpoint,
)
from distillkit.training.loop import Parts, build_optimizer, distil
from distillkit.training.weights import load_weights, save_weights
from tests.tiny import build
from tests.training.parts import loaded, parts

STEPS = 4
DROPOUT = {"resid_pdrop": 0.1, "embd_pdrop": 0.1}


def made(*, seed: int = 0, tied: bool = True) -> tuple[Parts, torch.optim.Optimizer]:
    """A mixed run with dropout, so that every random draw there is has a part in it."""
    student = build("gpt2", tied=tied, seed=seed, **DROPOUT)
    run = parts(
        student,
        build("llama", side=Teacher),
        policy=Mixed(lmbda=0.5, draw=Draw.sequence),
        steps=STEPS,
        batch_size=3,
    )
    return run, build_optimizer(run)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_run_resumed_from_a_checkpoint_is_the_run_that_was_not_stopped(
    tied: bool, tmp_path: Path
) -> None:
    """Bit for bit: metrics, rollouts, weights and the optimiser's moments."""
    whole, optimizer = made(tied=tied)
    expected = list(distil(whole, optimizer))

    first, first_optimizer = made(tied=tied)
    begun = list(itertools.islice(distil(first, first_optimizer), 2))
    progress = Progress(step=2, best_score=0.25, best_step=1, journals={"metrics.jsonl": 12})
    path = save_checkpoint(
        tmp_path, student=first.sides.student, optimizer=first_optimizer, progress=progress
    )
    second, second_optimizer = made(tied=tied, seed=99)
    torch.manual_seed(1234)
    found = loaded(path, student=second.sides.student, optimizer=second_optimizer)
    assert found == progress
    resumed = list(distil(second, second_optimizer, start=found.step))

    assert [*begun, *resumed] == expected
    ours, theirs = (run.sides.student.module.state_dict() for run in (second, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    states = [each.state_dict()["state"] for each in (second_optimizer, optimizer)]
    for index, moments in states[1].items():
        assert all(torch.equal(states[0][index][name], moments[name]) for name in moments)


def saved(folder: Path, step: int = 1) -> tuple[Path, Parts, torch.optim.Optimizer]:
    """A checkpoint after one update."""
    run, optimizer = made()
    next(distil(run, optimizer))
    path = save_checkpoint(
        folder, student=run.sides.student, optimizer=optimizer, progress=Progress(step=step)
    )
    return path, run, optimizer


@pytest.mark.parametrize("name", ["student.safetensors", "optimizer.pt", "progress.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_checkpoint_is_refused_by_name_and_harms_nothing(
    name: str, damage: str, tmp_path: Path
) -> None:
    path, run, optimizer = saved(tmp_path)
    file, content = path / name, bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 255
    if damage == "flipped":
        file.write_bytes(content)
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    before = copy.deepcopy(run.sides.student.module.state_dict())
    with pytest.raises(RunError, match="step-000001.* (is damaged|is missing)"):
        loaded(path, student=run.sides.student, optimizer=optimizer)
    after = run.sides.student.module.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_weights_come_back_bit_for_bit_and_the_head_sees_them(tied: bool, tmp_path: Path) -> None:
    source, target = (build("llama", tied=tied, seed=seed) for seed in (1, 2))
    save_weights(source, tmp_path / "best.safetensors")
    load_weights(target, tmp_path / "best.safetensors", way_out="Delete it.")
    ours, theirs = target.module.state_dict(), source.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert torch.equal(target.head.weight, source.head.weight)
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]


def test_the_newest_checkpoint_is_that_of_the_highest_step_and_the_rest_go(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "checkpoints") is None
    run, optimizer = made()
    for step in (2, 10, 9, 100):
        save_checkpoint(
            tmp_path, student=run.sides.student, optimizer=optimizer, progress=Progress(step=step)
        )
    (tmp_path / ".step-000200.partial").mkdir()
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.name == "step-000100"
    keep_newest(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-000010", "step-000100"]


def test_a_checkpoint_that_fails_half_way_leaves_the_older_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, run, optimizer = saved(tmp_path)

    def full(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(
            tmp_path, student=run.sides.student, optimizer=optimizer, progress=Progress(step=1)
        )
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["step-000001"]
    assert loaded(path, student=run.sides.student, optimizer=optimizer).step == 1
