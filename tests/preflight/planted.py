"""Faults to plant in a model on disk, and what the doctor said of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from distillkit.compose import compose
from distillkit.core.types import Split
from distillkit.models.loading import EMBEDDED, load, pick_device
from distillkit.preflight.machine import this_machine
from distillkit.preflight.subject import Subject
from tests.conftest import SMOKE, Result

STUDENT, TEACHER = "student.name=model", "teacher.name=model"


def found(result: Result, severity: str, check: str) -> str:
    """What a check said with a severity, with its why and its mend, as one text."""
    assert "Traceback" not in result.out + result.err, result
    said, inside = [], False
    for line in result.out.splitlines():
        if line[:1].strip():
            inside = line.split()[0] == severity and line[8:].startswith(check)
        if inside:
            said.append(line.strip())
    return "\n".join(said)


def edited(name: str, **values: Any) -> Callable[[Path], None]:
    """A change of a JSON file's fields."""

    def change(folder: Path) -> None:
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return change


def swapped(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    entries = tokenizer["model"]["vocab"]
    left, right = (entry for entry, index in entries.items() if index in (100, 101))
    entries[left], entries[right] = entries[right], entries[left]
    edited("tokenizer.json", model=tokenizer["model"])(folder)


TABS_TO_SPACES = {"type": "Replace", "pattern": {"String": "\t"}, "content": " "}


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def as_it_is(folder: Path) -> None:
    pass


def model(change: Callable[[Path], None] = as_it_is, *, side: str = "student") -> None:
    """``model/``: one side of the embedded pair with a fault."""
    shutil.copytree(EMBEDDED / side, "model")
    change(Path("model"))


def closing(folder: Path) -> None:
    """A template that closes an assistant's turn with <pad>, which nothing stops at."""
    (folder / "chat_template.jinja").write_text(
        "{% for turn in messages %}{{ turn['content'] }}<pad>{% endfor %}"
    )


def weights(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    """Rewrite the tensors of a model."""
    file = folder / "model.safetensors"
    changed = {name: change(name, tensor) for name, tensor in load_file(file).items()}
    save_file(changed, file, metadata={"format": "pt"})


def subject(*typed: str) -> Subject:
    """The embedded pair as the checks see it."""
    run = compose("train", [*SMOKE, *typed]).run
    device = pick_device("cpu")
    return Subject(
        run=run,
        folder=Path("run"),
        room=24,
        machine=this_machine(),
        models={
            "teacher": load(run.teacher, device=device, precision=run.precision),
            "student": load(run.student, device=device, precision=run.precision),
        },
        examples={Split.train: run.dataset.examples(Split.train)},
    )
