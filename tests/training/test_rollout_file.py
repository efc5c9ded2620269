"""Rollouts beside a checkpoint: every bit comes back, and another run's are refused."""

import itertools
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distillkit.core.errors import RunError, is_full
from distillkit.core.types import Author, Response, Rollout
from distillkit.models.pretrained import Teacher
from distillkit.training.checkpoint import (
    ROLLOUTS,
    Progress,
    newest_checkpoint,
    save_checkpoint,
)
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.rollout_file import load_rollouts, save_rollouts
from tests.test_full_disk import FULL, needs_dev_full
from tests.tiny import build
from tests.training.methods import METHODS, method
from tests.training.parts import EXAMPLES, loaded

STEPS = 7
"""A collection of six updates, and one more."""
DROPOUT = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}


def made(name: str, *, seed: int = 0) -> tuple[Parts, torch.optim.Optimizer]:
    """Two batches, three times each, by a student with dropout where it is left on."""
    student = build("gpt2", seed=seed, **DROPOUT)
    teacher = build("llama", side=Teacher)
    run = method(name, student, teacher, steps=STEPS, collect=2, inner_epochs=3)
    return run, build_optimizer(run)


def saved(folder: Path, run: Parts, optimizer: torch.optim.Optimizer, update: Any) -> Path:
    return save_checkpoint(
        folder,
        student=run.sides.student,
        optimizer=optimizer,
        progress=Progress(step=update.step),
        rollouts=update.collection,
    )


def state(run: Parts, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Weights, moments and their steps."""
    moments = optimizer.state_dict()["state"]
    return [
        *run.sides.student.module.state_dict().values(),
        *itertools.chain.from_iterable(each.values() for each in moments.values()),
    ]


@pytest.mark.parametrize("name", METHODS)
def test_a_run_stopped_after_any_step_goes_on_as_if_it_had_not_been(
    name: str, tmp_path: Path
) -> None:
    """Bit for bit, in the middle of an epoch, between epochs and at a collection's end."""
    whole, optimizer = made(name)
    expected = []
    for update in distil(whole, optimizer):
        expected.append(update)
        saved(tmp_path, whole, optimizer, update)
    for step in range(1, STEPS):
        path = tmp_path / f"step-{step:06d}"
        assert (path / ROLLOUTS).is_file() == (step != 6)
        again, moved = made(name, seed=99)
        kept = load_rollouts(path / ROLLOUTS, again.pool.examples)
        assert tuple(kept) == tuple(expected[step - 1].collection)
        found = loaded(path, student=again.sides.student, optimizer=moved)
        torch.manual_seed(step)
        resumed = list(distil(again, moved, start=found.step, kept=kept))
        assert resumed == expected[step:]
        ours, theirs = state(again, moved), state(whole, optimizer)
        assert len(ours) == len(theirs) > 50
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


FLOATS = (
    *(-0.0, 0.1, -1 / 3, 5e-324, -1.7976931348623157e308, float("-inf")),
    *torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist(),
)


def rollouts(reward: float | None = 0.1 + 0.2) -> list[Rollout]:
    response = Response(tuple(range(len(FLOATS))), True, Author.mixture, FLOATS, FLOATS, FLOATS)
    return [
        Rollout(EXAMPLES[0], response, reward),
        Rollout(EXAMPLES[1], Response((7,), truncated=False, author=Author.dataset)),
        Rollout(EXAMPLES[0], replace(response, of_teacher=()), -0.0),
    ]


def bits(values: tuple[float, ...]) -> bytes:
    return struct.pack(f"{len(values)}d", *values)


def test_every_number_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    save_rollouts(tmp_path / ROLLOUTS, rollouts())
    found = load_rollouts(tmp_path / ROLLOUTS, EXAMPLES)
    assert found == rollouts()
    for name in ("log_probs", "of_student", "of_teacher"):
        assert bits(getattr(found[0].response, name)) == bits(FLOATS)
    assert bits((found[0].reward, found[2].reward)) == bits((0.1 + 0.2, -0.0))
    assert found[1].reward is None
    assert [item.response.author for item in found] == ["mixture", "dataset", "mixture"]
    assert all(type(item.response.author) is Author for item in found)
    assert found[0].example is EXAMPLES[0]


def test_nothing_is_kept_where_there_is_no_file(tmp_path: Path) -> None:
    assert load_rollouts(tmp_path / ROLLOUTS, EXAMPLES) == []


def without(*names: str) -> Callable[[dict[str, Any]], object]:
    """A row less one field."""

    def change(row: dict[str, Any]) -> object:
        place = row
        for name in names[:-1]:
            place = place[name]
        del place[names[-1]]
        return row

    return change


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another example": lambda row: {**row, "example": "of another run"},
    "a list of examples": lambda row: {**row, "example": ["a"]},
    "no example": without("example"),
    "no response": without("response"),
    "no reward": without("reward"),
    "no tokens": without("response", "tokens"),
    "no teacher": without("response", "of_teacher"),
    "another author": lambda row: {**row, "response": {**row["response"], "author": "nobody"}},
    "tokens of another type": lambda row: {**row, "response": {**row["response"], "tokens": 3}},
    "a response of another type": lambda row: {**row, "response": "yes"},
    "a list": lambda row: [row],
    "a number": lambda row: 3,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_row_that_is_none_is_refused_by_the_files_name(damage: str, tmp_path: Path) -> None:
    file = tmp_path / ROLLOUTS
    save_rollouts(file, rollouts())
    first, second, third = file.read_text().splitlines()
    changed = json.dumps(DAMAGES[damage](json.loads(second)))
    file.write_text(f"{first}\n{changed}\n{third}\n")
    with pytest.raises(RunError, match=r"rollouts\.jsonl.*Delete that checkpoint"):
        load_rollouts(file, EXAMPLES)


@pytest.mark.parametrize("cut", [1, 0.5])
def test_a_file_that_ends_too_soon_is_refused(cut: float, tmp_path: Path) -> None:
    file = tmp_path / ROLLOUTS
    save_rollouts(file, rollouts())
    content = file.read_bytes()
    file.write_bytes(content[: -int(cut * len(content)) or -1] + b"\xff")
    with pytest.raises(RunError, match=r"rollouts\.jsonl.*Delete that checkpoint"):
        load_rollouts(file, EXAMPLES)


def test_a_changed_number_or_a_missing_file_is_a_damaged_checkpoint(tmp_path: Path) -> None:
    run, optimizer = made("minillm")
    path = saved(tmp_path, run, optimizer, next(distil(run, optimizer)))
    file = path / ROLLOUTS
    lines = file.read_text().splitlines()
    row = json.loads(lines[0])
    row["response"]["tokens"][0] ^= 1
    file.write_text("\n".join([json.dumps(row), *lines[1:]]) + "\n")
    assert load_rollouts(file, run.pool.examples)
    with pytest.raises(RunError, match=r"damaged \(rollouts\.jsonl has changed"):
        loaded(path, student=run.sides.student, optimizer=optimizer)
    file.unlink()
    with pytest.raises(RunError, match=r"damaged .*rollouts\.jsonl"):
        loaded(path, student=run.sides.student, optimizer=optimizer)


@needs_dev_full
def test_a_disk_that_fills_up_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, optimizer = made("minillm")
    updates = distil(run, optimizer)
    saved(tmp_path, run, optimizer, next(updates))
    write = Path.write_text

    def full(path: Path, text: str, **how: Any) -> int:
        return write(FULL if ROLLOUTS in path.name else path, text, **how)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as caught:
        saved(tmp_path, run, optimizer, next(updates))
    assert is_full(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["step-000001"]
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert len(load_rollouts(newest / ROLLOUTS, run.pool.examples)) == 4
    assert loaded(newest, student=run.sides.student, optimizer=optimizer).step == 1
