"""The memory of each process, told by one: against real shards, real passes and scale.md's sums."""

import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from transformers import LlamaConfig

from distillkit.compose import compose
from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.types import Batch
from distillkit.distributed.imagined import holding_of, imagined
from distillkit.distributed.placement import ALONE, Placement
from distillkit.distributed.sharded import Sharded
from distillkit.models.activations import kept_for_backward
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import EMBEDDED, load
from distillkit.models.pretrained import Pretrained, Student, Teacher
from distillkit.models.sketch import Sketch
from distillkit.preflight.dry_run import DryRun, Phase, dry_run
from distillkit.programs.train.assemble import assemble, room_needed
from distillkit.programs.train.session import evaluate
from distillkit.training.loop import adamw
from tests.conftest import SMOKE, CommandLine, Start
from tests.forking import ROOT
from tests.preflight.planted import found
from tests.preflight.test_room import on, small
from tests.test_bad_input import said
from tests.tiny import CPU, FAMILIES, save

SIZE = 2
CASES = {
    "tied": ("llama", {"tied": True}, "fp32"),
    "untied": ("llama", {"tied": False}, "fp32"),
    "untied, bf16": ("llama", {"tied": False}, "bf16"),
    "tied, bf16": ("llama", {"tied": True}, "bf16"),
    "without a plan": ("gpt2", {}, "fp32"),
}
"""Families with a plan of transformers and without, and how they are loaded."""
LENGTH = 32


def rows_of(model: LanguageModel, count: int) -> Any:
    """Texts of which one is shorter, so that there is a mask."""
    texts = [(5,) * (LENGTH - 2)] * count
    return model.batch(texts, [(7, 7)] * (count - 1) + [(7,)])


def local(tensors: Any) -> int:
    held = [each.to_local() if hasattr(each, "to_local") else each for each in tensors]
    return sum(each.numel() * each.element_size() for each in held)


def kept_by(model: LanguageModel, batch: Batch) -> tuple[int, torch.Tensor]:
    """What a forward pass saves beside weights, wherever those are, and its hidden states."""
    storages = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hidden = model.hidden(batch)
    # A layer's weights have been freed behind it, and the others are parameters now.
    weights = {each.untyped_storage()._cdata for each in whole_ones(model)}
    kept = [storage.nbytes() for key, storage in storages.items() if key not in weights]
    # Where the packed positions are is no activation.
    return sum(kept) - 16 * len(batch.targets), hidden


def whole_ones(model: LanguageModel) -> list[torch.Tensor]:
    return [each for each in model.module.parameters() if not hasattr(each, "to_local")]


def seen_in(source: Pretrained, precision: str, placement: Placement) -> dict[str, int]:
    """Bytes that a really sharded model has, in one process."""
    model = load(source, device=CPU, precision=precision, placement=placement)
    placement.reshard(model.module)
    seen = {"own": local(model.module.parameters())}
    with placement.whole(model.module):
        seen["gathered"] = local(model.module.parameters())
    if isinstance(source, Student):
        batch = rows_of(model, 2)
        seen["activations"], hidden = kept_by(model, batch)
        head = model.module.get_output_embeddings().weight
        (hidden.float() @ head.float().T).sum().backward()
        optimizer = adamw(model.parameters(), compose("train", []).run.optimizer)
        optimizer.step()
        seen["gradients"] = local(each.grad for each in model.parameters())
        moments = [optimizer.state[each] for each in model.parameters()]
        seen["moments"] = local(one[name] for one in moments for name in ("exp_avg", "exp_avg_sq"))
    model.hidden(rows_of(model, 2))
    seen["kept"] = local(whole_ones(model))
    return seen


def work(rank: int, folder: Path) -> None:
    """What each of two processes does."""
    import os

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=(folder / "port").read_text())
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=SIZE)
    placement = Sharded(rank=rank, size=SIZE)
    seen = {
        (name, side.__name__): seen_in(side(name=str(folder / name)), precision, placement)
        for name, (_, _, precision) in CASES.items()
        for side in (Student, Teacher)
    }
    torch.save(seen, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def really(started: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The models, and what the first of two real processes saw of each."""
    folder = tmp_path_factory.mktemp("really")
    for name, (family, shape, _) in CASES.items():
        # An odd number of rows, of which the first process has one more.
        save(folder / name, family, vocab_size=385, **shape)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (folder / "port").write_text(str(free.getsockname()[1]))
    ranks = [started(rank, folder, folder=ROOT, module=__name__) for rank in "01"]
    told = [rank.communicate()[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told
    return folder, torch.load(folder / "0.pt", weights_only=True)


@pytest.mark.parametrize("side", [Student, Teacher])
@pytest.mark.parametrize("name", CASES)
def test_what_two_real_processes_hold_is_told_to_the_byte(name: str, side: type, really) -> None:
    folder, found = really
    seen, precision = found[name, side.__name__], CASES[name][2]
    sketch = Sketch.of(side(name=str(folder / name)), precision=precision)
    with imagined(SIZE):
        holding = holding_of(sketch.dealt_out(Sharded(rank=0, size=SIZE)))
    assert (holding.own, holding.gathered) == (seen["own"], seen["gathered"])
    assert holding.kept == seen["kept"]
    assert 0 < holding.passing < holding.gathered
    if side is Student:
        assert seen["gradients"] == holding.own
        assert seen["moments"] == 2 * holding.own


@pytest.mark.parametrize("name", CASES)
def test_what_a_sharded_pass_really_keeps_is_told(name: str, really) -> None:
    folder, found = really
    precision = CASES[name][2]
    sketch = Sketch.of(Student(name=str(folder / name)), precision=precision)
    kept = kept_for_backward(sketch, length=LENGTH, narrow=sketch.autocast, checkpointing=False)
    assert kept is not None
    seen = found[name, "Student"]["activations"]
    assert kept.fixed + 2 * kept.row == pytest.approx(seen, rel=0.05)


NEARLY = {"gemma2": 0.03, "opt": 0.01, "opt_projected": 0.01}
"""Families that make a mask or positions of their own from what is not padded."""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", [each for each in FAMILIES if each != "granite"])
def test_what_a_pass_keeps_is_counted_to_the_byte(
    family: str, precision: str, tmp_path: Path
) -> None:
    source = Student(name=str(save(tmp_path, family)))
    kept = kept_for_backward(
        Sketch.of(source, precision=precision), length=LENGTH, narrow=False, checkpointing=False
    )
    assert kept is not None
    model = load(source, device=CPU, precision=precision)
    for rows in (2, 3):
        seen, _ = kept_by(model, rows_of(model, rows))
        counted = kept.fixed + rows * kept.row
        assert counted == pytest.approx(seen, rel=NEARLY.get(family, 0))


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
