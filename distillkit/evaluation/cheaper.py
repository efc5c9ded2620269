"""The dense divergence beside its cheaper estimators on one batch, chunk by chunk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.core.bounds import MANY, check_bound
from distillkit.core.errors import ConfigError
from distillkit.divergences.apart import Apart, log_probs, together
from distillkit.divergences.kl import ReverseKL
from distillkit.evaluation.estimators import (
    KINDS,
    centre,
    draw,
    expectation,
    gradient_of_draws,
    on_support,
    outside,
    second_moments,
    squared_gradients,
)
from distillkit.evaluation.tally import EstimateRow, EstimateTally
from distillkit.models.head import Head
from distillkit.models.likelihood import rows_within
from distillkit.objectives.comparison import Comparison
from distillkit.opinions.base import Heard, Opinion
from distillkit.supports.base import Support
from distillkit.supports.full import Full
from distillkit.supports.sampled import Sampled
from distillkit.supports.top_k import StudentTopK, TeacherTopK, TopK

TABLES = 8
"""A chunk has so many times fewer positions than in training: more tables are alive at once."""


MOST = 1_000_000
"""Largest number of a plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which estimators are compared. Named as the command line has them."""

    k: tuple[int, ...] = (1, 4, 16, 64, 256)
    """Entries that the top-k supports keep apart."""
    draws: tuple[int, ...] = (1, 4, 16)
    """Tokens that the Monte Carlo estimators draw at each position."""
    repeats: int = 16
    """Draws of the whole batch, for means and variances."""

    def __post_init__(self) -> None:
        for option in ("k", "draws"):
            numbers = getattr(self, option)
            if not numbers or min(numbers) < 1:
                given = ",".join(map(str, numbers))
                raise ConfigError(
                    f"--{option} takes numbers of at least 1, got {given!r}. "
                    f"Give some as in --{option} 1,4,16."
                )
            if max(numbers) > MOST:
                raise ConfigError(f"--{option} takes numbers of at most {MOST}.")
        check_bound("--repeats", self.repeats, MOST)
        if self.repeats < 2:
            raise ConfigError(
                f"--repeats must be at least 2, got {self.repeats}: one draw has no variance."
            )
        drawn = self.repeats * max(self.draws)
        check_bound("--repeats times the most of --draws", drawn, MANY)


@dataclass(frozen=True, slots=True)
class Reading:
    """What both bodies made of some packed positions."""

    student: Tensor
    """Last hidden states [N, D]."""
    teacher: Opinion
    """What is thought of the same positions, logits."""
    targets: Tensor
    """Tokens of the response [N]."""
    weights: Tensor
    """Share of each position in the global batch's mean [N]."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Logits, log-probabilities and the rest of n positions; ``dense`` is the true gradient."""

    logits: Tensor
    student: Tensor
    teacher: Tensor
    targets: Tensor
    weights: Tensor
    dense: Tensor
    apart: Apart
    """The student's, as training has them."""


class Estimates:
    """Adds up what each estimator makes of a batch.

    Args:
        comparison: its divergence is what is estimated, at its temperatures.
        student: head of the student.
        chunk_mb: mebibytes for logits of both, as in training.
        plan: which estimators.
        seed: of the draws.
    """

    def __init__(
        self, comparison: Comparison, *, student: Head, chunk_mb: int, plan: Plan, seed: int
    ) -> None:
        self._comparison, self._plan, self._chunk_mb = comparison, plan, chunk_mb
        self._ours = student.prepared()
        self._generator = torch.Generator().manual_seed(seed)
        device = student.weight.device
        self._dense = EstimateTally("dense", device=device)
        self._supports = [
            (support, EstimateTally(name, device=device, k=getattr(support, "k", None)))
            for name, support in self._cheaper(student.vocabulary)
        ]
        wide = torch.promote_types(self._ours.weight.dtype, torch.float32)
        self._rows = torch.linalg.vector_norm(self._ours.weight, dim=-1, dtype=wide).square()
        self._draws = sorted(set(plan.draws)) if self.random else []
        self._random = [
            EstimateTally(kind.name, device=device, draws=count)
            for kind in KINDS
            for count in self._draws
        ]

    @property
    def random(self) -> bool:
        """Whether the Monte Carlo estimators apply: they estimate reverse KL alone."""
        return isinstance(self._comparison.divergence, ReverseKL)

    def add(self, reading: Reading, *, poll: Callable[[], None] = lambda: None) -> None:
        """Count some positions; chunks of any size give the same.

        Args:
            reading: the positions.
            poll: called between chunks; may raise to stop.
        """
        rows = rows_within(max(1, self._chunk_mb // TABLES), self._ours.vocabulary)
        with torch.no_grad():
            theirs = reading.teacher.opened(rows)
        for start in range(0, len(reading.targets), rows):
            poll()
            with torch.no_grad():
                self._count(reading, theirs, slice(start, start + rows))

    def rows(self) -> list[EstimateRow]:
        """One row for each estimator, the dense one first."""
        tallies = [self._dense, *(tally for _, tally in self._supports), *self._random]
        return [tally.row(self._dense) for tally in tallies]

    def _cheaper(self, vocabulary: int) -> Iterator[tuple[str, Support]]:
        chosen = self._comparison.support
        asked = {*self._plan.k, *([chosen.k] if isinstance(chosen, TopK) else [])}
        sizes = sorted({min(k, vocabulary) for k in asked})
        yield from (("teacher_top_k", TeacherTopK(k=k)) for k in sizes)
        yield from (("student_top_k", StudentTopK(k=k)) for k in sizes)
        yield "sampled", Sampled()

    def _count(self, reading: Reading, theirs: Callable[[slice], Heard], part: slice) -> None:
        chunk = self._count_dense(reading, theirs(part), part)
        for support, tally in self._supports:
            self._count_support(chunk, support, tally)
        if self.random:
            middle = centre(self._ours, chunk.logits, chunk.student)
            self._count_expectations(chunk, middle)
            self._count_draws(chunk, middle)

    def _count_dense(self, reading: Reading, theirs: Heard, part: slice) -> _Chunk:
        objective = self._comparison
        assert isinstance(theirs, Tensor), "refused before anything is loaded"
        logits = self._ours.logits(reading.student[part])
        student = Apart.of(logits, objective.student_temperature)
        teacher = Apart.of(theirs, objective.teacher_temperature)
        targets, weights = reading.targets[part], reading.weights[part]
        values, slope = on_support(Full(), objective.divergence, teacher, student, targets)
        dense = self._through_head(slope, logits, weights)
        self._dense.add(values, weights, dense, dense.double())
        told = together(student), log_probs(theirs, objective.teacher_temperature)
        return _Chunk(logits, *told, targets, weights, dense.double(), student)

    def _count_support(self, chunk: _Chunk, support: Support, tally: EstimateTally) -> None:
        read = (chunk.teacher, chunk.student, chunk.targets)
        asked = support, self._comparison.divergence, chunk.teacher
        values, slope = on_support(*asked, chunk.apart, chunk.targets)
        gradient = self._through_head(slope, chunk.logits, chunk.weights)
        tally.add(values, chunk.weights, gradient, chunk.dense)
        tally.add_outside(outside(support, *read), chunk.weights)

    def _count_expectations(self, chunk: _Chunk, middle: Tensor) -> None:
        squares = squared_gradients(self._ours, chunk.logits, self._rows, middle=middle)
        for kind in KINDS:
            values, slope = expectation(kind, chunk.teacher, chunk.student)
            gradient = self._through_head(slope, chunk.logits, chunk.weights)
            moments = second_moments(kind, chunk.teacher, chunk.student, squares)
            of_value = chunk.weights.double().square() @ (moments[0] - values.double().square())
            lengths = self._step(chunk.weights).double().square() @ moments[1]
            of_gradient = lengths - gradient.double().square().sum()
            for tally in (tally for tally in self._random if tally.estimator == kind.name):
                tally.add(values, chunk.weights, gradient, chunk.dense)
                tally.add_variances(of_value, of_gradient)

    def _count_draws(self, chunk: _Chunk, middle: Tensor) -> None:
        """All repeats of all kinds from one set of tokens; fewer draws take the first of them."""
        shape = (len(chunk.targets), self._plan.repeats, self._draws[-1])
        uniform = torch.rand(shape, generator=self._generator, dtype=torch.float64)
        drawn = draw(chunk.student, uniform.to(chunk.targets.device))
        shares = _shares(self._draws).to(chunk.student)
        step = self._step(chunk.weights)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for tokens in drawn.unbind(1):
            log_r = chunk.teacher.gather(-1, tokens) - chunk.student.gather(-1, tokens)
            values = torch.stack([kind.value(log_r) for kind in KINDS], 1) @ shares.T
            factors = torch.stack([kind.factor(log_r) for kind in KINDS], 1)[:, :, None] * shares
            gradient = gradient_of_draws(
                self._ours, chunk.logits, tokens, factors.flatten(1, 2), middle=middle
            )
            gradient = gradient.double() * step[:, None, None]
            found.append(
                (
                    torch.einsum("nkm,n->km", values.double(), chunk.weights.double()).flatten(),
                    torch.einsum("ncd,nd->c", gradient, chunk.dense),
                    gradient.square().sum((0, 2)),
                )
            )
        sums = [torch.stack(part, -1) for part in zip(*found, strict=True)]
        for place, tally in enumerate(self._random):
            values, dots, squares = (part[place] for part in sums)
            tally.add_repeats(values, dots, squares)

    def _step(self, weights: Tensor) -> Tensor:
        return weights / self._comparison.student_temperature

    def _through_head(self, gradient: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
        """Gradient of the hidden states [n, D] from that by scaled logits [n, V]."""
        gradient = gradient * self._step(weights)[:, None]
        return self._ours.gradient_of_hidden(
            self._ours.gradient_of_product(gradient, logits.clone())
        )


def _shares(draws: Sequence[int]) -> Tensor:
    """Weight of each of the most draws in a mean over fewer of them [C, M]."""
    place = torch.arange(draws[-1])
    return torch.stack([(place < count) / count for count in draws])
