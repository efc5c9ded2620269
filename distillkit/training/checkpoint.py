"""Checkpoints: all that the next step depends on, written whole or not at all.

Random draws are functions of the seed and the step, the learning rate of the step, the order of
the data of seed and step; so weights, optimiser, step and journal lengths are the whole state, and
rollouts that more than one step learns from.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from distillkit.core.errors import RunError
from distillkit.core.files import new_folder, read_json, write_json
from distillkit.core.types import Rollout
from distillkit.models.language_model import LanguageModel
from distillkit.training.rollout_file import save_rollouts

ROLLOUTS = "rollouts.jsonl"
"""File of the rollouts that the next step learns from too."""


@dataclass(kw_only=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: updates done.
        best_score: best validation score so far, higher is better; None before the first.
        best_step: step of that score.
        journals: length in bytes of each journal at this point, by file name.
    """

    step: int = 0
    best_score: float | None = None
    best_step: int | None = None
    journals: dict[str, int] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    *,
    student: LanguageModel,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    rollouts: Sequence[Rollout] = (),
) -> Path:
    """Write ``folder/step-000500`` and return it.

    ``rollouts`` are those that the next step learns from too: who wrote them is gone by then.
    """
    target = folder / f"step-{progress.step:06d}"
    with new_folder(target) as partial:
        save_file(_tensors(student), partial / "student.safetensors")
        # Given a path instead, torch says of a full disk only that a position is unexpected.
        with (partial / "optimizer.pt").open("wb") as file:
            torch.save(optimizer.state_dict(), file)
        if rollouts:
            save_rollouts(partial / ROLLOUTS, rollouts)
        files = {file.name: _digest(file) for file in sorted(partial.iterdir())}
        write_json(partial / "progress.json", {**asdict(progress), "files": files})
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step, or None."""
    found = _by_step(folder)
    return found[-1] if found else None


def _by_step(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-[0-9]*"), key=lambda path: int(path.name.split("-")[1]))


def keep_newest(folder: Path, count: int) -> None:
    """Delete all but the newest checkpoints."""
    for old in _by_step(folder)[:-count]:
        shutil.rmtree(old)


def load_checkpoint(
    path: Path, *, student: LanguageModel, optimizer: torch.optim.Optimizer
) -> Progress:
    """Put a checkpoint's state into the student and the optimiser.

    Raises:
        RunError: a file is missing or is not what was written.
    """
    try:
        state = read_json(path / "progress.json")
        for name, digest in state.pop("files").items():
            if _digest(path / name) != digest:
                raise OSError(f"{name} has changed since it was written")
        load_weights(student, path / "student.safetensors")
        optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
        return Progress(**state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise RunError(
            f"the checkpoint {path} is damaged ({error}). Delete that folder to resume from the "
            "one before it, or the run directory to start anew."
        ) from error


def save_weights(student: LanguageModel, file: Path) -> None:
    """Write the student's weights atomically."""
    partial = file.with_name(f".{file.name}.partial")
    save_file(_tensors(student), partial)
    partial.replace(file)


def load_weights(student: LanguageModel, file: Path) -> None:
    """Read weights written by :func:`save_weights` into the student."""
    tensors = load_file(file)
    own = student.module.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _tensors(student: LanguageModel) -> dict[str, torch.Tensor]:
    """State without the second name of tied tensors, which safetensors refuses to write."""
    seen: set[int] = set()
    state = {}
    for name, tensor in student.module.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            state[name] = tensor.detach().contiguous()
    return state


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
