"""Noise on the teacher's logits, held against float64, and what it must not depend on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from distillkit.compose import compose
from distillkit.core.errors import ConfigError
from distillkit.divergences.kl import ForwardKL
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.objectives.noise import Noise
from distillkit.programs.osd.fields import check_fields
from distillkit.supports.full import Full
from distillkit.supports.top_k import TeacherTopK
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.settings import LoopSettings
from distillkit.training.sides import Sides
from distillkit.training.step import accumulate
from tests.divergences import oracle
from tests.objectives.tables import ENTRIES, WEIGHTS, at_positions, scored, table
from tests.objectives.test_divergence_objective import expected_gradient
from tests.tiny import TableModel, distance, gradients
from tests.training.parts import parts
from tests.training.test_step import ROLLOUTS, WIDTH, pair

SEEDS = list(range(100, 100 + len(WEIGHTS)))


def forward_kl(**settings: float) -> DivergenceObjective:
    return DivergenceObjective(support=Full(), divergence=ForwardKL(), **settings)


def drawn(seeds: list[int], width: int) -> np.ndarray:
    """A row of standard normal numbers for each seed."""
    rows = [torch.empty(width).normal_(generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(rows).double().numpy()


@pytest.mark.parametrize("tau", [1.0, 2.5])
def test_loss_and_gradient_are_those_of_a_teacher_whose_logits_are_moved(tau: float) -> None:
    """The noise comes before the temperature, which therefore divides it too."""
    left, right, sigma = table(1), table(2), 0.7
    objective = forward_kl(teacher_noise=sigma, teacher_temperature=tau, student_temperature=tau)
    student = TableModel(right)
    batch = replace(scored(TableModel(left)), noise=Noise(SEEDS, sigma))
    loss = objective.backward(batch, student=student)["loss"]
    teacher = (at_positions(left) + sigma * drawn(SEEDS, ENTRIES)) / tau
    ours = at_positions(right) / tau
    values = oracle.value("forward_kl", teacher, ours)
    assert loss == pytest.approx(values @ WEIGHTS.double().numpy(), rel=1e-5)
    slopes = oracle.gradient("forward_kl", teacher, ours) / tau
    found = student.weight.grad[:ENTRIES].T
    np.testing.assert_allclose(found.numpy(), expected_gradient(slopes), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_chunks_do_not_change_what_is_drawn(rows: int) -> None:
    noisy = Noise(SEEDS, 2.0).on(lambda part: torch.zeros(8, 50)[part].clone())
    parts_ = [noisy(slice(start, start + rows)) for start in range(0, 8, rows)]
    np.testing.assert_allclose(torch.cat(parts_).numpy(), 2 * drawn(SEEDS, 50), rtol=1e-6)


def test_micro_batches_do_not_change_what_is_drawn() -> None:
    found = []
    for budget in (4 * WIDTH, 20, 1):
        sides = pair()
        for side in sides:
            side.module.double()
        loss = accumulate(
            ROLLOUTS,
            sides=Sides.of(*sides),
            objective=forward_kl(teacher_noise=1.0),
            loop=LoopSettings(micro_batch_tokens=budget),
            draw=5,
        )["loss"]
        found.append((loss, gradients(sides[0])))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        assert distance(gradient, found[0][1]) < 1e-6


def test_every_step_and_every_position_is_drawn_anew_with_the_spread_asked_for() -> None:
    lengths = [(0, 3), (1, 2)]
    steps = [Noise.of(3.0, draw=draw, lengths=lengths).seeds for draw in (0, 1)]
    assert len({*steps[0], *steps[1]}) == 10
    some = Noise.of(3.0, draw=0, lengths=lengths).on(lambda part: torch.zeros(5, 20_000)[part])
    assert float(some(slice(0, 5)).std()) == pytest.approx(3, rel=0.02)
    assert abs(float(some(slice(0, 5)).mean())) < 0.05


def losses(start: int, stop: int, made, optimizer) -> list[float]:
    updates = distil(made, optimizer, start=start)
    return [next(updates).metrics["loss"] for _ in range(start, stop)]


def test_a_run_that_stops_draws_the_noise_of_one_that_does_not() -> None:
    found = []
    for stops in ((0, 4), (0, 2, 4)):
        made = parts(*pair(), objective=forward_kl(teacher_noise=1.0), steps=4)
        optimizer = build_optimizer(made)
        told = [
            loss for start, stop in pairwise(stops) for loss in losses(start, stop, made, optimizer)
        ]
        found.append(told)
    assert found[0] == found[1]
    quiet = parts(*pair(), objective=forward_kl(), steps=4)
    assert losses(0, 4, quiet, build_optimizer(quiet))[0] != found[0][0]


def test_no_noise_is_no_setting_of_a_run() -> None:
    plain, silent = compose("train", []), compose("train", ["objective.teacher_noise=0"])
    values = plain.config["objective"]
    assert "teacher_noise" not in plain.run.objective.earlier(values)
    assert plain.fingerprint == silent.fingerprint
    assert compose("train", ["objective.teacher_noise=1"]).fingerprint != plain.fingerprint


@pytest.mark.parametrize("noise", [-1.0, float("inf"), float("nan")])
def test_noise_that_is_no_spread_is_refused(noise: float) -> None:
    with pytest.raises(ConfigError, match=r"objective\.teacher_noise must be 0 or more"):
        forward_kl(teacher_noise=noise)


def test_noise_needs_logits() -> None:
    told = forward_kl(teacher_noise=1.0).compared()
    told = replace(told, support=TeacherTopK(k=2))
    with pytest.raises(ConfigError, match=r"teacher_noise=1.0 is added to logits, and teacher=far"):
        told.check_told([TeacherTopK(k=2)], "far")


def test_a_draft_that_learns_while_it_serves_takes_no_noise() -> None:
    with pytest.raises(ConfigError, match=r"objective\.teacher_noise=1\.0 is drawn for the upd"):
        check_fields(compose("osd", ["objective.teacher_noise=1"]).run)
