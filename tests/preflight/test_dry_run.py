"""The memory of each process, told by one: against real shards, real passes, and sums by hand."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig

from distillkit.compose import compose
from distillkit.core.types import Batch
from distillkit.distributed.imagined import holding_of, imagined
from distillkit.distributed.placement import Placement
from distillkit.distributed.sharded import Sharded
from distillkit.models.activations import kept_for_backward
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import EMBEDDED, load
from distillkit.models.pretrained import Adapter, Pretrained, Student, Teacher
from distillkit.models.sketch import Sketch
from distillkit.preflight.dry_run import PASSING, dry_run
from distillkit.preflight.phases import DryRun, Phase
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
    """Texts of which one is shorter, so that there is padding, where that is read at all."""
    texts = [(5 + row,) * (LENGTH - 1) for row in range(count)]
    return model.batch(texts, [(7, 7)] * (count - 1) + [(7, 7) if model.packs else (7,)])


def local(tensors: Any) -> int:
    held = [each.to_local() if hasattr(each, "to_local") else each for each in tensors]
    return sum(each.numel() * each.element_size() for each in held)


def kept_by(model: LanguageModel, batch: Batch) -> tuple[int, torch.Tensor]:
    """What a forward pass saves beside weights, wherever those are, and its hidden states.

    The last layer works at all positions, which is what is counted.
    """
    storages, model.narrowed = {}, None

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hidden = model.hidden(batch)
    # A layer's weights have been freed behind it, and the others are parameters now.
    weights = {each.untyped_storage()._cdata for each in whole_ones(model)}
    kept = [storage.nbytes() for key, storage in storages.items() if key not in weights]
    # Where the packed positions are is no activation, and neither are the last tokens.
    return sum(kept) - 8 * (len(batch.targets) + len(batch.tokens)), hidden


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
        assert seen["gradients"] == holding.learning == holding.own
        assert seen["moments"] == 2 * holding.learning


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


def test_of_prompts_the_last_layer_keeps_less(tmp_path: Path) -> None:
    model = load(Student(name=str(save(tmp_path))), device=CPU, precision="fp32")
    batch, less = model.batch([[5] * 40], [[6, 7]]), []
    for narrowed in (model.narrowed, None):
        with Living() as living:
            model.narrowed = narrowed
            states = model.hidden(batch)
            less.append(living.total())
        del states
    assert 0 < less[0] < 0.9 * less[1]


class Living(TorchDispatchMode):
    """Knows which of the tensors that were made inside are still there."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.made[StorageWeakRef(storage)] = storage.nbytes()
        return out

    def total(self, weights: Iterable[torch.Tensor] = ()) -> int:
        """Bytes; a view of a weight is none of them."""
        held = {StorageWeakRef(each.untyped_storage()) for each in weights}
        alive = {made: size for made, size in self.made.items() if not made.expired()}
        return sum(size for made, size in alive.items() if made not in held)


def test_checkpointing_keeps_the_inputs_of_layers_and_one_of_them_whole(tmp_path: Path) -> None:
    source = Student(
        name=str(save(tmp_path, num_hidden_layers=6, initializer_range=0.1)),
        gradient_checkpointing=True,
    )
    sketch = Sketch.of(source, precision="fp32")
    counted, whole = (
        kept_for_backward(sketch, length=LENGTH, narrow=False, checkpointing=each)
        for each in (True, False)
    )
    assert counted is not None
    assert whole is not None
    model = load(source, device=CPU, precision="fp32")
    batch = rows_of(model, 3)
    with Living() as living:
        hidden = model.hidden(batch)
    alive = living.total(model.parameters()) - hidden.untyped_storage().nbytes()
    layer = (whole.fixed + 3 * whole.row) / 6
    # What is alive now, and beside it one layer while its turn is in the backward pass.
    told = counted.fixed + 3 * counted.row
    assert alive + 0.8 * layer < told < alive + 1.2 * layer


def described(folder: Path, **shape: int) -> Path:
    """A folder with config.json alone, in the shape of Llama 3."""
    LlamaConfig(
        vocab_size=128256,
        num_key_value_heads=8,
        tie_word_embeddings=False,
        max_position_embeddings=8192,
        bos_token_id=128000,
        eos_token_id=128001,
        **shape,
    ).save_pretrained(folder)
    assert [each.name for each in folder.iterdir()] == ["config.json"]
    return folder


EIGHT = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
SEVENTY = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80}


@pytest.fixture
def large(tmp_path: Path) -> list[str]:
    """8B learning from 70B on eight machines of eight, without a byte of weights."""
    described(tmp_path / "8b", num_attention_heads=32, **EIGHT)
    described(tmp_path / "70b", num_attention_heads=64, **SEVENTY)
    return [
        *("student=hf", f"student.name={tmp_path / '8b'}", "student.gradient_checkpointing=true"),
        *("teacher=hf", f"teacher.name={tmp_path / '70b'}", "precision=bf16", "tracker=none"),
        *("placement=sharded", "placement.replicas=8", "policy=on_policy", "loop.batch_size=512"),
        *("loop.max_prompt_tokens=512", "rollout.max_new_tokens=1536"),
        *("evaluation.every=0", "evaluation.test=0", "name=large"),
    ]


def test_8b_from_70b_on_64_is_told_from_config_json_alone(
    large: list[str], distillkit: CommandLine
) -> None:
    result = distillkit("estimate", "--processes", "64", *large)
    assert (result.code, result.err) == (0, "")
    assert max(map(len, result.out.splitlines())) <= 80
    assert "placement=sharded: the memory of each of 64 processes" in result.out
    assert "not a measurement" in result.out
    (file,) = Path("outputs/estimate").iterdir()
    assert file.name == "large-memory-8x8-shards.json"
    told = json.loads(file.read_text())
    rows = {row["name"]: row for row in told["rows"]}
    state = ("weights", "gradients", "AdamW moments")
    assert sum(rows[name]["student"] for name in state) == pytest.approx(16.06e9, rel=0.01)
    assert rows["weights"]["teacher"] == pytest.approx(17.64e9, rel=0.01)
    assert told["state"] == sum(
        rows[name][side] for name in state for side in ("student", "teacher")
    )
    assert told["micro_batch"] == {"rows": 8, "tokens": 2048}
    assert told["together"].keys() == {"load", "train", "student writes"}
    for phase, total in told["together"].items():
        assert total == sum(row[phase] for row in told["rows"])
    assert told["peak"] == max(told["together"].values()) == told["together"][told["largest"]]
    # By hand it was 54, with 9 of activations and nothing for a layer's gradient.
    assert 50e9 < told["together"]["train"] < 80e9
    assert rows["all layers, gathered"]["student writes"] == pytest.approx(18.2e9, rel=0.01)
    assert "teacher writes" not in told["together"]
    assert told["seconds"] < 60


def told_of(*typed: str, size: int) -> DryRun:
    run = compose("train", [*SMOKE, *typed]).run
    return dry_run(run, size, room=room_needed(run))


def test_replicas_hold_all_and_one_process_as_much() -> None:
    several = told_of("placement=replicas", size=4)
    alone = told_of("placement=alone", "loop.batch_size=1", size=1)
    names = [row.name for row in several.rows]
    assert not [name for name in names if "gathered" in name]
    assert several.rows[:3] == alone.rows[:3]
    assert several.placement.layout == "4 replicas"
    half = told_of("placement=sharded", size=2)
    assert half.state == pytest.approx(several.state / 2, rel=0.01)
    assert "all layers, gathered" in [row.name for row in half.rows]


def test_nothing_is_kept_of_the_last_token() -> None:
    told = told_of("placement=alone", size=1)
    rows, tokens = told.micro_batch
    source = compose("train", [*SMOKE]).run.student
    kept = kept_for_backward(
        Sketch.of(source, precision="fp32"), length=tokens - 1, narrow=False, checkpointing=False
    )
    assert kept is not None
    (row,) = [each for each in told.rows if each.name == "activations"]
    assert row.student == int(PASSING * (kept.fixed + rows * kept.row))


def test_a_whole_teacher_is_not_gathered() -> None:
    typed = ("placement=sharded", "policy=seq_kd")
    parted, whole = (told_of(*typed, f"placement.teacher={each}", size=4) for each in HELD)
    of = [{row.name: row.teacher for row in each.rows} for each in (parted, whole)]
    assert of[1]["weights"] == pytest.approx(4 * of[0]["weights"], rel=0.02)
    assert of[0]["all layers, gathered"] == of[1]["weights"]
    assert of[1]["all layers, gathered"] == 0


HELD = ("sharded", "whole")

NOTHING = ("evaluation.every=0", "evaluation.test=0")


@pytest.mark.parametrize(
    ("typed", "phases"),
    [
        ([*NOTHING, "policy=off_policy"], [Phase.train]),
        ([*NOTHING, "policy=on_policy"], [Phase.train, Phase.student]),
        ([*NOTHING, "policy=seq_kd"], [Phase.train, Phase.teacher]),
        (["policy=off_policy", "evaluation.test=0"], [Phase.train, Phase.student]),
        (["policy=off_policy"], [Phase.train, Phase.student, Phase.teacher]),
        (["experiment=sft", "teacher=null"], [Phase.train, Phase.student]),
    ],
    ids=str,
)
def test_a_run_has_the_phases_that_it_goes_through(typed: list[str], phases: list[Phase]) -> None:
    found = told_of(*typed, size=2)
    assert list(found.phases) == phases
    assert found.total(found.largest) == max(map(found.total, phases))


def test_what_has_no_part_to_read_is_read_whole(tmp_path: Path) -> None:
    """Families without a plan, tied heads, and layers that are fp32 and gathered in bf16."""
    typed = ["placement=sharded", "policy=off_policy", *NOTHING]
    assert Phase.load in told_of(*typed, size=2).phases
    untied = save(tmp_path / "untied", "llama", tied=False)
    typed += [f"{side}.name={untied}" for side in ("student", "teacher")]
    assert Phase.load not in told_of(*typed, size=2).phases
    narrow = told_of(*typed, "precision=bf16", size=2)
    (row,) = [row for row in narrow.rows if row.name == "read whole"]
    (weights,) = [row for row in narrow.rows if row.name == "weights"]
    assert row.student == pytest.approx(2 * weights.student, rel=0.01)
    assert row.teacher == 0
    without = f"student.name={save(tmp_path, 'gpt2')}"
    assert Phase.load in told_of(*typed, without, size=2).phases
    assert Phase.load not in told_of("precision=bf16", without, size=2).phases


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_of_a_student_with_an_adapter_the_adapter_alone_learns(
    precision: str, tmp_path: Path
) -> None:
    source = Student(name=str(save(tmp_path)), adapter=Adapter(rank=2))
    sketch = Sketch.of(source, precision=precision)
    model = load(source, device=CPU, precision=precision)
    holding = holding_of(sketch.dealt_out(Placement()))
    assert holding.own == local(model.module.parameters())
    assert holding.learning == local(model.parameters()) < holding.own / 2
    kept = kept_for_backward(sketch, length=LENGTH, narrow=False, checkpointing=False)
    assert kept is not None
    seen, _ = kept_by(model, rows_of(model, 3))
    assert kept.fixed + 3 * kept.row == pytest.approx(seen, rel=0.02)


def test_its_own_base_is_a_teacher_that_holds_nothing() -> None:
    found = told_of("student.adapter.rank=2", "teacher=self", *NOTHING, size=2)
    assert [row.teacher for row in found.rows] == [0] * len(found.rows)


def test_opinions_are_kept_only_where_rollouts_are_learnt_from_again() -> None:
    once = told_of("loop.inner_epochs=1", size=2)
    twice = told_of("loop.inner_epochs=2", size=2)
    assert {row.name for row in twice.rows} - {row.name for row in once.rows} == {"kept opinions"}


def test_nothing_is_left_of_what_was_imagined() -> None:
    told_of("placement=sharded", size=64)
    assert not dist.is_initialized()
    with pytest.raises(AssertionError, match="nothing real"), imagined(2), imagined(4):
        pass
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (
            ["--processes", "64", "placement=sharded", "placement.replicas=7"],
            ["placement.replicas=7"],
        ),
        (["--processes", "4", "placement=alone"], ["placement=alone", "4 processes"]),
        (["--processes", "1", "placement=sharded"], ["placement=sharded", "one was started"]),
        (["--processes", "0"], ["--processes", "1"]),
        (["--processes", "2", "student.name=none/of/it"], ["student.name=none/of/it", "no such"]),
        (["--processes", "2", "teacher.name=packed"], ["teacher.name=packed", "quantised"]),
        (["--processes", "2", "teacher.name=damaged"], ["teacher.name=damaged", "config.json"]),
        (["--processes", "2", "teacher.name=huge"], ["teacher.name=huge", "num_hidden_layers"]),
        (["--processes", "2", "beta=0.5"], ["beta=0.5", "has no effect"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_cannot_be_laid_out_is_one_sentence(
    typed: list[str], words: list[str], distillkit: CommandLine
) -> None:
    for name in ("packed", "damaged", "huge"):
        shutil.copytree(EMBEDDED / "teacher", name)
    fields = json.loads(Path("packed/config.json").read_text())
    packed = {**fields, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    Path("packed/config.json").write_text(json.dumps(packed))
    Path("huge/config.json").write_text(json.dumps({**fields, "num_hidden_layers": 10**7}))
    Path("damaged/config.json").write_text("{")
    said(distillkit("estimate", *SMOKE, *typed), *words)
    assert not Path("outputs").exists()


def test_the_doctor_tells_what_each_process_would_hold(distillkit: CommandLine, wide: None) -> None:
    report = distillkit("doctor", *SMOKE, "--processes", "4")
    assert "each of 4 processes holds" in found(report, "ok", "processes")
    assert not found(distillkit("doctor", *SMOKE), "ok", "processes")


def test_the_doctor_says_where_a_process_has_no_room(wide: None) -> None:
    typed = ("placement=sharded", "placement.replicas=2")
    assert "each of 4 processes" in found(on(small(), *typed)[1], "ok", "processes")
    healthy, report = on(small(memory=1000), *typed)
    assert not healthy
    assert "no process could take a first update" in found(report, "fatal", "processes")
    warned = found(on(small(memory=50_000_000), *typed)[1], "warning", "processes")
    assert "distillkit estimate --processes 4" in warned
    assert "mend: Use more processes" in warned


def test_a_validation_gathers_the_student_alone() -> None:
    """A teacher of 70B gathered whole at each of them would fit into no device."""
    run = compose("train", SMOKE).run
    parts = assemble(run)
    gathered: list[object] = []

    class Watched(Placement):
        def whole(self, *modules):
            gathered.extend(modules)
            return super().whole(*modules)

    watched = replace(parts, placement=Watched())
    evaluate(run, parts.sides.student, watched, parts.validation)
    assert gathered == [parts.sides.student.module]


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
