"""Where our step's time goes, and what the same work takes as a bare torch loop.

The bare loop is what one would write by hand: transformers' own modules and cache, a product with
each head, autograd through a dense loss, and AdamW. It reads the rollouts that our step trained on.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache

from distillkit.core.types import Batch, Update
from distillkit.divergences.base import log_probs
from distillkit.training.loop import build_optimizer, distil
from scripts.bench.compare import Comparison, Options
from scripts.bench.measure import quartiles
from scripts.bench.ours import parts_of, preset_lengths
from scripts.bench.pair import Ends, Shape, folders
from scripts.bench.report import plain_table
from scripts.bench.steps import STEP, TINY

PHASES = ("rollout", "teacher", "student", "loss", "optimizer")


def run(options: Options, console: Console) -> Comparison:
    """Seconds by phase of our steps and of the bare loop, in turns."""
    shape = TINY if options.quick else STEP
    result = Comparison(shape=asdict(shape))
    parts = parts_of(shape)
    updates = distil(parts, build_optimizer(parts))
    bare, ends = Bare(shape), Ends(shape, parts.sides.student.end_id)
    ours: dict[str, list[float]] = {phase: [] for phase in PHASES}
    theirs: dict[str, list[float]] = {phase: [] for phase in PHASES}
    totals: list[float] = []
    for turn in range(options.rounds + 1):
        with preset_lengths(ends):
            ends.place = 0
            start = time.perf_counter()
            update = next(updates)
            total = time.perf_counter() - start
        seconds = bare.step(parts, update)
        if turn:
            totals.append(total)
            for phase in PHASES:
                ours[phase].append(update.seconds[phase])
                theirs[phase].append(seconds[phase])
    result.seconds = {
        "ours": totals,
        "bare loop": [sum(row) for row in zip(*theirs.values(), strict=True)],
    }
    shares = [sum(row) / all_ for *row, all_ in zip(*ours.values(), totals, strict=True)]
    result.notes = {"ours": ours, "bare loop": theirs, "share_accounted_for": shares}
    rows = {phase: _row(ours[phase], theirs[phase], totals) for phase in PHASES}
    rows["all phases"] = _row(
        [sum(row) for row in zip(*ours.values(), strict=True)], result.seconds["bare loop"], totals
    )
    plain_table("accounts: our step by phase, beside a bare torch loop", rows, console)
    return result


def _row(ours: list[float], bare: list[float], totals: list[float]) -> dict[str, str]:
    own, other = quartiles(ours)[1], quartiles(bare)[1]
    ratio = quartiles([left / right for left, right in zip(ours, bare, strict=True)])[1]
    return {
        "ours, s": f"{own:.3f}",
        "of the step": f"{own / quartiles(totals)[1]:.1%}",
        "bare, s": f"{other:.3f}",
        "ours over bare": f"{ratio:.2f}",
    }


class Bare:
    """One step by hand, phase by phase."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.student, self.teacher = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            for folder in folders(shape.vocabulary, shape.student, shape.teacher)
        )
        self.optimizer = torch.optim.AdamW(self.student.parameters(), fused=True)

    def step(self, parts: Any, update: Update) -> dict[str, float]:
        """Seconds of each phase over the text that ``update`` trained on."""
        student = parts.sides.student
        prompts = [student.prompts.prompt_ids(item.example) for item in update.rollouts]
        batch = student.batch(prompts, [item.response.tokens for item in update.rollouts])
        seconds: dict[str, float] = {}
        timed(seconds, "rollout", lambda: self._write(torch.tensor(prompts)))
        with torch.no_grad():
            theirs = timed(seconds, "teacher", lambda: self._hidden(self.teacher, batch))
        hidden = timed(seconds, "student", lambda: self._hidden(self.student, batch))
        leaf = hidden.detach().requires_grad_()
        timed(seconds, "loss", lambda: self._loss(leaf, theirs).backward())
        timed(seconds, "student", lambda: hidden.backward(leaf.grad))
        timed(seconds, "optimizer", self._move)
        return seconds

    @torch.inference_mode()
    def _write(self, tokens: Tensor) -> None:
        cache = DynamicCache(config=self.student.config)
        for _ in range(self.shape.limit):
            output = self.student(input_ids=tokens, past_key_values=cache, logits_to_keep=1)
            tokens = torch.multinomial(output.logits[:, -1].softmax(-1), 1)

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
