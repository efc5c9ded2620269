"""Where our step's time goes, what the same work takes as a bare torch loop, and what it must take.

What it must take is the roofline of :mod:`scripts.bench.roofline`. The bare loop is what one would
write by hand: transformers' own modules and cache, a product with each head, autograd through a
dense loss, and AdamW. It reads the rollouts that our step trained on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from distillkit.core.types import Batch, Update
from distillkit.divergences.apart import log_probs
from distillkit.training.loop import build_optimizer, distil
from scripts.bench.compare import Comparison, Options
from scripts.bench.measure import quartiles
from scripts.bench.ours import parts_of, preset_lengths
from scripts.bench.pair import Ends, Shape, models_of
from scripts.bench.report import plain_table
from scripts.bench.roofline import Rates, Sizes, limits, told
from scripts.bench.steps import STEP, TINY, pair_shape

PHASES = ("rollout", "teacher", "student", "loss", "optimizer")


def run(options: Options, console: Console) -> Comparison:
    """Seconds by phase of our steps and of the bare loop, in turns."""
    return _run("accounts", TINY if options.quick else STEP, options, console)


def run_pair(options: Options, console: Console) -> Comparison:
    """The same of real models."""
    return _run("pair_accounts", pair_shape(options), options, console)


def _run(title: str, shape: Shape, options: Options, console: Console) -> Comparison:
    result = Comparison(shape=asdict(shape))
    parts = parts_of(shape)
    updates = distil(parts, build_optimizer(parts))
    student, teacher = parts.sides.student, parts.sides.teacher
    assert teacher is not None
    sizes = Sizes.of(student), Sizes.of(teacher)
    bare, ends = Bare(shape), Ends(shape, student.end_id)
    floors: dict[str, list[float]] = {phase: [] for phase in PHASES}
    ours: dict[str, list[float]] = {phase: [] for phase in PHASES}
    theirs: dict[str, list[float]] = {phase: [] for phase in PHASES}
    totals: list[float] = []
    found: list[Rates] = []
    for turn in range(options.rounds + 1):
        with preset_lengths(ends):
            start = time.perf_counter()
            update = next(updates)
            total = time.perf_counter() - start
        seconds = bare.step(parts, update)
        rates = Rates.measured(sizes[0].weights)
        if turn:
            found.append(rates)
            totals.append(total)
            for phase in PHASES:
                ours[phase].append(update.seconds[phase])
                theirs[phase].append(seconds[phase])
            prompts = [student.prompt_length(item.example) for item in update.rollouts]
            responses = [len(item.response.tokens) for item in update.rollouts]
            for phase, least in limits(*sizes, prompts, responses, rates).items():
                floors[phase].append(least)
    result.seconds = {
        "ours": totals,
        "bare loop": [sum(row) for row in zip(*theirs.values(), strict=True)],
    }
    shares = [sum(row) / all_ for *row, all_ in zip(*ours.values(), totals, strict=True)]
    kinds = {"ours": ours, "bare loop": theirs, "limit": floors}
    result.notes = {**kinds, "share_accounted_for": shares, "rates": [*map(asdict, found)]}
    rows = {phase: _row([kind[phase] for kind in kinds.values()], totals) for phase in PHASES}
    every = [[sum(row) for row in zip(*kind.values(), strict=True)] for kind in kinds.values()]
    rows["all phases"] = _row(every, totals)
    heading = f"{title}: our step by phase, beside a bare torch loop and the limit at {told(found)}"
    plain_table(heading, rows, console)
    return result


def _row(kinds: Sequence[Sequence[float]], totals: Sequence[float]) -> dict[str, str]:
    """Medians of ours, the bare loop and the limit, and ratios turn by turn."""
    own, bare, limit = (quartiles(seconds)[1] for seconds in kinds)
    over = [
        quartiles([ours / other for ours, other in zip(kinds[0], kind, strict=True)])[1]
        for kind in kinds[1:]
    ]
    return {
        "ours, s": f"{own:.3f}",
        "of the step": f"{own / quartiles(totals)[1]:.1%}",
        "bare, s": f"{bare:.3f}",
        "ours over bare": f"{over[0]:.2f}",
        "limit, s": f"{limit:.3f}",
        "ours over limit": f"{over[1]:.2f}",
    }


class Bare:
    """One step by hand, phase by phase."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.student, self.teacher = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            for folder in models_of(shape)
        )
        self.optimizer = torch.optim.AdamW(self.student.parameters(), fused=True)

    def step(self, parts: Any, update: Update) -> dict[str, float]:
        """Seconds of each phase over the text that ``update`` trained on."""
        student = parts.sides.student
        prompts = [student.prompts.prompt_ids(item.example) for item in update.rollouts]
        batch = student.batch(prompts, [item.response.tokens for item in update.rollouts])
        seconds: dict[str, float] = {}
        timed(seconds, "rollout", lambda: self._write(prompts, student.end_id))
        with torch.no_grad():
            theirs = timed(seconds, "teacher", lambda: self._hidden(self.teacher, batch))
        hidden = timed(seconds, "student", lambda: self._hidden(self.student, batch))
        leaf = hidden.detach().requires_grad_()
        timed(seconds, "loss", lambda: self._loss(leaf, theirs).backward())
        timed(seconds, "student", lambda: hidden.backward(leaf.grad))
        timed(seconds, "optimizer", self._move)
        return seconds

    @torch.inference_mode()
    def _write(self, prompts: Sequence[Sequence[int]], pad: int) -> None:
        width = max(map(len, prompts))
        tokens = torch.tensor([[pad] * (width - len(each)) + [*each] for each in prompts])
        mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in prompts])
        cache = DynamicCache(config=self.student.config)
        for _ in range(self.shape.limit):
            given = {} if mask.all() else {"attention_mask": mask}
            output = self.student(
                input_ids=tokens, past_key_values=cache, logits_to_keep=1, **given
            )
            tokens = torch.multinomial(output.logits[:, -1].softmax(-1), 1)
            mask = torch.cat([mask, torch.ones_like(tokens)], dim=-1)

    def _hidden(self, model: Any, batch: Batch) -> Tensor:
        output = model.base_model(
            input_ids=batch.tokens, attention_mask=batch.mask, use_cache=False
        )
        return output.last_hidden_state[batch.rows, batch.columns]

    def _loss(self, hidden: Tensor, theirs: Tensor) -> Tensor:
        with torch.no_grad():
            teacher = log_probs(theirs @ self.teacher.lm_head.weight.T)
        student = log_probs(hidden @ self.student.lm_head.weight.T)
        middle = torch.lerp(student.exp(), teacher.exp(), 0.5).log()
        halves = teacher.exp() * (teacher - middle) + student.exp() * (student - middle)
        return 0.5 * halves.sum(-1).mean()

    def _move(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def timed(seconds: dict[str, float], phase: str, work: Callable[[], Any]) -> Any:
    """Add the seconds of some work to its phase, and return its result."""
    start = time.perf_counter()
    result = work()
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start
    return result
