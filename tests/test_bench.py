"""The benchmark script on tiny shapes; the peers' part runs where they are installed."""

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from distillkit.core.types import Author
from distillkit.training.loop import build_optimizer, distil
from scripts.bench import (
    compare,
    documents,
    layer,
    measure,
    pair,
    report,
    roofline,
    steps,
    updates,
)
from tests.conftest import Start
from tests.tiny import ENTRIES, build

ROOT = Path(__file__).parent.parent
needs_trl = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="TRL is not installed; make bench installs it"
)


@pytest.mark.parametrize("name", ["ours", pytest.param("trl", marks=needs_trl)])
def test_the_loss_layer_agrees_with_float64(name: str) -> None:
    problem = layer.Problem(layer.TINY)
    errors = layer.errors(name, problem, layer.oracle(problem))
    assert max(errors.values()) < 1e-5


def test_the_products_leave_gradients_of_the_right_shapes() -> None:
    problem = layer.Problem(layer.TINY)
    layer.products(problem)()
    for side in (problem.student.states, problem.student.weight):
        assert side.grad is not None
        assert side.grad.shape == side.shape


@pytest.mark.parametrize(
    "name", ["ours", *(pytest.param(n, marks=needs_trl) for n in ("trl", "trl_gkd"))]
)
def test_a_step_trains_on_the_preset_lengths(name: str) -> None:
    with steps.built(name, steps.TINY) as run:
        assert all(run() > 0 for _ in range(3))
    assert run.tokens[:3] == [steps.TINY.tokens] * 3


@pytest.mark.parametrize("name", ["ours", pytest.param("trainer", marks=needs_trl)])
def test_documents_are_learnt_whole_up_to_their_end(name: str) -> None:
    with documents.built(name, documents.TINY) as run:
        assert all(run() > 0 for _ in range(2))
    assert run.tokens[:2] == [documents.TINY.tokens] * 2


def test_the_limit_of_documents_is_taken_anew_and_leaves_writing_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = iter((roofline.Rates(1.0, 1e12), roofline.Rates(2.0, 1e12)))
    monkeypatch.setattr(roofline.Rates, "measured", lambda _: next(found))
    parts = documents.reading(documents.TINY)
    limit = documents.Limit(parts, [3, 2])
    student, teacher = (
        roofline.Sizes.of(side) for side in (parts.sides.student, parts.sides.teacher)
    )
    # Each text behind one token; all positions but these are read.
    reading = teacher.forward([4, 3], 5) + 3 * student.forward([4, 3], 5)
    heads = 2 * 5 * (3 * student.head + teacher.head)
    assert limit() == pytest.approx(reading + heads)
    assert limit() == pytest.approx((reading + heads) / 2)
    assert [each.products for each in limit.rates] == [1.0, 2.0]


@needs_trl
def test_the_plainest_loss_is_the_forward_kl_that_ours_learns_from() -> None:
    from scripts.bench import peers

    shape = documents.TINY
    trainer = peers.plain_trainer(shape, documents.documents(shape))
    (batch,) = trainer.get_train_dataloader()
    with torch.no_grad():
        theirs = trainer.compute_loss(trainer.model, dict(batch)).item()
    parts = documents.reading(shape)
    update = next(distil(parts, build_optimizer(parts)))
    assert update.metrics["loss"] == pytest.approx(theirs, rel=1e-5)


def test_the_roofline_counts_the_products_that_torch_counts() -> None:
    """Of a real model: torch counts attention whole, of which a causal one needs half."""
    model = build("llama")
    sizes, lengths = roofline.Sizes.of(model), (40, 40, 40)
    ids = torch.full((3, 40), 5)
    # Plain layers, since torch knows no operations of oneDNN's.
    bare = AutoModelForCausalLM.from_config(model.module.config, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        bare(ids, use_cache=False)
    counted = replace(sizes, attention=2 * sizes.attention).forward(lengths, 120)
    vectors = sum(each.numel() for each in model.module.parameters() if each.ndim < 2)
    assert sizes.head == 16 * ENTRIES
    counted += 2 * 120 * (16 * len(bare.lm_head.weight) - vectors)
    assert counter.get_total_flops() == counted
    # The block of the last layer works where it is read.
    assert sizes.block == 3 * 16 * 24
    assert sizes.forward(lengths, 30) == sizes.forward(lengths, 120) - 2 * 90 * sizes.block


def test_a_step_takes_as_long_as_its_products_and_what_it_reads() -> None:
    sizes = roofline.Sizes(body=10, head=5, block=4, attention=0, learning=15)
    slow, narrow = roofline.Rates(1.0, 1e12), roofline.Rates(1e12, 1.0)
    found = roofline.limits(sizes, sizes, [3, 2], [2, 1], slow)
    # Six of the eight tokens are prompt, three are read: 2 (10 x 8 - 4 x 5).
    assert found["teacher"] == 120
    assert found["student"] == 360
    assert found["loss"] == 2 * 3 * (15 + 5)
    # The prompt's last positions, then two rows, then one.
    assert found["rollout"] == 2 * (10 * 5 - 4 * 3) + 2 * 15 * 2 + 2 * 15
    found = roofline.limits(sizes, sizes, [3, 2], [2, 1], narrow)
    assert found["rollout"] == pytest.approx(2 * 4 * 15)
    assert found["optimizer"] == 7 * 4 * 15


def test_ends_accepts_all_rows_or_the_live_ones() -> None:
    ends = pair.Ends(pair.Shape(lengths=(1, 3), limit=4), end_id=0)
    first = ends(torch.zeros(2, 5))
    assert first[0].argmax() == 0
    assert first[1, 0] == -torch.inf
    assert ends(torch.zeros(1, 5))[0, 0] == -torch.inf
    assert ends(torch.zeros(2, 5))[1].argmax() == 0
    with pytest.raises(ValueError, match="3 rows write"):
        ends(torch.zeros(3, 5))


def test_contenders_take_turns_and_ratios_are_taken_round_by_round() -> None:
    order: list[str] = []

    def contender(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    runs = {"ours": lambda: contender("ours", 2.0), "peer": lambda: contender("peer", 3.0)}
    times = measure.alternate(runs, rounds=2)
    assert order == ["ours", "peer"] * 3
    assert measure.ratios(times, to=compare.OURS)["peer"] == [1.5, 1.5]


def test_every_objective_updates_on_the_same_rollouts() -> None:
    ground = updates.ground_of(updates.TINY)
    rollouts = updates.write(ground, updates.TINY)
    assert sorted(len(each.response.tokens) for each in rollouts) == list(updates.TINY.lengths)
    assert len({each.example.id for each in rollouts}) == 2
    wanted = {(each.example.id, each.response.tokens) for each in rollouts}
    runs = {name: updates.Updates(name, ground, rollouts) for name in updates.CONTENDERS}
    for run in runs.values():
        assert run() > 0
        assert {(each.example.id, each.response.tokens) for each in run.text} == wanted
    for name, run in runs.items():
        read = all(each.response.of_teacher for each in run.text)
        assert read == (name != updates.BASE), name
        assert (run.text[0].reward is not None) == (name == "reward")
    mixed = runs["minillm, mixed text"].text[0].response
    assert mixed.author is Author.mixture
    ratio = np.exp(mixed.log_probs) - 0.8 * np.exp(mixed.of_student)
    assert np.allclose(ratio, 0.2 * np.exp(mixed.of_teacher))


def test_work_of_others_is_told_in_cores(tmp_path: Path) -> None:
    class Stat(type(tmp_path)):  # type: ignore[misc]
        """What the kernel would say, half a second later each time."""

        def read_text(self, *of: Any, **how: Any) -> str:
            return said.pop(0)

    said = ["cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1\n", "cpu  125 0 50 870 55 0 0 0 0 0\ncpu0 1\n"]
    cores = os.cpu_count() or 1
    assert report.busy_cores(0, Stat(tmp_path)) == pytest.approx(cores * 0.25)
    assert report.busy_cores(0, tmp_path / "absent") == 0
    assert 0 <= report.busy_cores(0.05) <= cores


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_memory_counts_the_peak_and_nothing_from_before() -> None:
    torch.ones(50_000_000).sum()
    found: list[int] = []
    with measure.peak_above(found):
        torch.ones(10_000_000).sum()
    assert found[0] == pytest.approx(40_000_000, rel=0.1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.slow
def test_the_script_says_who_was_left_out_and_writes_its_results(
    started: Start, tmp_path: Path
) -> None:
    asked = ("ragged", "--quick", "--rounds=1", "--output", tmp_path)
    process = started(*asked, folder=ROOT, module="scripts.bench")
    out, err = process.communicate()
    assert process.wait() == 0, err
    found = json.loads((tmp_path / "ragged.json").read_text())
    assert set(found["seconds"]) | set(found["skipped"]) == set(steps.PADDED)
    assert all(f"{name} skipped" in out for name in found["skipped"])
    assert set(found["notes"]["tokens_a_step"]["ours"]) == {steps.TINY.tokens}
    assert (tmp_path / "ratios.png").stat().st_size


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.slow
def test_objectives_are_timed_beside_on_policy_distillation(started: Start, tmp_path: Path) -> None:
    asked = ("objectives", "--quick", "--rounds=1", "--output", tmp_path)
    process = started(*asked, folder=ROOT, module="scripts.bench")
    _, err = process.communicate()
    assert process.wait() == 0, err
    found = json.loads((tmp_path / "objectives.json").read_text())
    assert found["base"] == updates.BASE
    assert set(found["time_over_ours"]) == set(updates.CONTENDERS)
    assert found["time_over_ours"][updates.BASE] == [1, 1, 1]
    whole = found["notes"]["ratios_with_writing"]["minillm"][0]
    base, own = (found["seconds"][name][0] for name in (updates.BASE, "minillm"))
    written = found["notes"]["writing"][0]
    assert whole == pytest.approx((own + written) / (base + written))
    alone = found["notes"]["inner"]["teacher_mixed, 1"]
    assert alone["expected"] == pytest.approx(alone["seconds"])
    assert (
        found["notes"]["inner"]["on_policy, 4"]["expected"][0]
        < (found["notes"]["inner"]["on_policy, 1"]["expected"][0])
    )
