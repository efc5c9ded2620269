"""An update of every objective on the same rollouts, beside one of on-policy distillation.

An update here is all that the loop does once the text is there: rewards, the teacher's reading,
the gradient, clipping and AdamW. It runs in the real loop, whose writer hands out text that the
student wrote beforehand. What writing takes is measured in the same turns and added for all alike.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import log
from typing import Any

import numpy as np
import torch
from rich.console import Console

from distillkit.compose import compose
from distillkit.core.clock import Clock
from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.objectives.minillm import MiniLLM
from distillkit.training.appraisal import appraise
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.settings import LoopSettings
from distillkit.training.step import ALONE
from distillkit.training.writers import write_rollouts
from scripts.bench import inner, pair, steps
from scripts.bench.compare import Comparison, Options
from scripts.bench.measure import alternate, peak_memory, quartiles, ratios
from scripts.bench.ours import parts_of, preset_lengths
from scripts.bench.report import MEGABYTE, comparison_table, plain_table

BASE = "reverse_kl"
MINILLM = "objective=minillm"
REWARD = ("objective=reward", "reward=length", "reward.target=32")
ON_POLICY, MIXED = "policy=on_policy", "policy=teacher_mixed"
CONTENDERS: dict[str, tuple[str, ...]] = {
    BASE: (ON_POLICY,),
    "minillm": (ON_POLICY, MINILLM),
    "minillm, mixed text": (MIXED, MINILLM),
    "minillm, reference": (ON_POLICY, MINILLM, "objective.variant=reference"),
    "reward": (ON_POLICY, *REWARD, "objective.alpha=0.5"),
    "sampled_kl": (ON_POLICY, "objective=sampled_kl"),
    "sampled_kl, gamma 1": (ON_POLICY, "objective=sampled_kl", "objective.gamma=1"),
}
"""As they are typed. Nothing is learnt beside the rollouts (``dataset_pt``)."""

PHASES = ("reward", "teacher", "student", "loss", "optimizer")
RATE = 1e-6
"""Learning rate: so low that the text stays what the student would write."""

MEMORY_RUNS = 3
PROCESSES = 3
"""Fresh ones for the memory of each contender."""


@dataclass(frozen=True, slots=True)
class Shape(pair.Shape):
    """Sizes of one update, whose rows are answers to two prompts."""

    chunk_mb: int = 160
    """``objective.chunk_mb``."""

    @property
    def group(self) -> int:
        """Answers to a prompt."""
        return len(self.lengths) // 2

    @property
    def wall(self) -> int:
        """Bytes of one [B, T, V] tensor in fp32."""
        return 4 * self.tokens * self.vocabulary


def _shape(like: pair.Shape, **fields: Any) -> Shape:
    return Shape(**{**asdict(like), **fields})


TINY = _shape(steps.TINY, lengths=(3, 4, 5, 6))
STEP = _shape(steps.STEP)
RAGGED = _shape(steps.RAGGED)
WIDE = Shape(lengths=(128,) * 8, limit=128, vocabulary=32_768, chunk_mb=16)
"""Where one [B, T, V] tensor is eight times the room that the objective may take for logits."""


class Updates:
    """Updates of the real loop on text that is there; each call takes one and says its seconds.

    Attributes:
        phases: seconds of each phase in every update.
    """

    def __init__(self, name: str, ground: Parts, rollouts: Sequence[Rollout]) -> None:
        chunk_mb = ground.objective.chunk_mb
        asked = [f"divergence={BASE}", *CONTENDERS[name], f"objective.chunk_mb={chunk_mb}"]
        run = compose("train", asked).run
        (author,) = run.policy.may_write()
        given = as_mixed(ground, rollouts) if author is Author.mixture else rollouts
        parts = replace(
            ground,
            policy=run.policy,
            writers={author: Ready(given)},
            objective=run.objective,
            judge=run.objective.judge(run.dataset, device=torch.device("cpu")),
        )
        self.phases: list[dict[str, float]] = []
        self._updates = distil(parts, build_optimizer(parts))

    def __call__(self) -> float:
        start = time.perf_counter()
        update = next(self._updates)
        seconds = time.perf_counter() - start
        self.phases.append(dict(update.seconds))
        return seconds - update.seconds["rollout"]


class Ready:
    """Hands out text that is there already."""

    def __init__(self, rollouts: Sequence[Rollout]) -> None:
        self._texts = defaultdict[str, list[Response]](list)
        for rollout in rollouts:
            self._texts[rollout.example.id].append(rollout.response)

    def write(self, examples: Sequence[Example], *, step: int) -> list[Response]:
        """Each example's texts, one after the other."""
        left = {name: iter(texts) for name, texts in self._texts.items()}
        return [next(left[example.id]) for example in examples]


def ground_of(shape: Shape) -> Parts:
    """What all contenders share but the student: the pair, prompts and settings."""
    parts = parts_of(shape)
    return replace(
        parts,
        examples=parts.examples[: len(shape.lengths) // shape.group],
        objective=replace(parts.objective, chunk_mb=shape.chunk_mb),
        loop=LoopSettings(batch_size=len(shape.lengths), group=shape.group),
        optimizer=replace(parts.optimizer, lr=RATE),
    )


def write(parts: Parts, shape: Shape) -> list[Rollout]:
    """Have the student answer every prompt, at the preset lengths."""
    examples = [example for example in parts.examples for _ in range(shape.group)]
    with preset_lengths(pair.Ends(shape, parts.sides.student.end_id)):
        authors = [Author.student] * len(examples)
        return write_rollouts(examples, authors, writers=parts.writers, step=0)


def as_mixed(parts: Parts, rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The same text as ``policy=teacher_mixed`` hands it over: the teacher's opinion is known."""
    read, _ = appraise(
        rollouts,
        sides=parts.sides,
        objective=MiniLLM(),
        loop=parts.loop,
        ranks=ALONE,
        clock=Clock(),
    )
    return [replace(rollout, response=_mixed(rollout.response)) for rollout in read]


def _mixed(response: Response) -> Response:
    own, theirs = np.array(response.of_student), np.array(response.of_teacher)
    drawn = np.logaddexp(log(0.8) + own, log(0.2) + theirs)
    return replace(response, author=Author.mixture, log_probs=tuple(drawn.tolist()))


@contextmanager
def built(name: str, shape: Shape) -> Iterator[Updates]:
    """One contender's updates."""
    ground = ground_of(shape)
    yield Updates(name, ground, write(ground, shape))


def run(options: Options, console: Console) -> Comparison:
    """Time on even and on ragged text, memory, and what inner epochs save."""
    result = timed(TINY if options.quick else STEP, options)
    # Fresh processes take long, and a smoke test needs no more than one beside the base.
    some = list(CONTENDERS)[:2] if options.quick else list(CONTENDERS)
    for name in some:
        result.extra_peak_bytes[name] = [
            peak_memory("objectives", name, TINY if options.quick else STEP)
            for _ in range(1 if options.quick else PROCESSES)
        ]
    _print("objectives", result, console)
    if not options.quick:
        ragged = timed(RAGGED, options)
        _print("objectives, ragged", ragged, console)
        result.notes["ragged"] = {
            **{"seconds": ragged.seconds, "ratios": ragged.time_ratios()},
            **ragged.notes,
        }
    result.notes["wide"] = _wide(TINY if options.quick else WIDE, some, console)
    result.notes["inner"] = inner.run(steps.TINY if options.quick else steps.STEP, options, console)
    return result


def timed(shape: Shape, options: Options) -> Comparison:
    """Seconds of every contender in turns, and of writing; with phases in the notes."""
    result = Comparison(shape=asdict(shape), base=BASE)
    ground = ground_of(shape)
    rollouts = write(ground, shape)
    runs = {}
    for name in CONTENDERS:
        # A student of its own for each; the teacher never changes.
        sides = replace(parts_of(shape).sides, teacher=ground.sides.teacher)
        runs[name] = Updates(name, replace(ground, sides=sides), rollouts)

    def writing() -> float:
        start = time.perf_counter()
        write(ground, shape)
        return time.perf_counter() - start

    times = alternate({"writing": writing, **runs}, rounds=options.rounds)
    written = times.pop("writing")
    result.seconds = times
    whole = ratios(
        {name: np.add(values, written).tolist() for name, values in times.items()}, to=BASE
    )
    phases = {name: run.phases[-options.rounds :] for name, run in runs.items()}
    result.notes |= {"writing": written, "ratios_with_writing": whole, "phases": phases}
    return result


def _print(title: str, result: Comparison, console: Console) -> None:
    comparison_table(f"{title}: an update without writing", result, console)
    rows = {}
    for name, phases in result.notes["phases"].items():
        spent = {
            f"{phase}, s": f"{quartiles([each.get(phase, 0.0) for each in phases])[1]:.3f}"
            for phase in PHASES
        }
        over = quartiles(result.notes["ratios_with_writing"][name])[1]
        rows[name] = {**spent, f"with writing, over {BASE}": f"{over:.2f}"}
    writing = quartiles(result.notes["writing"])[1]
    plain_table(f"{title}: by phase; writing takes {writing:.3f} s", rows, console)


def _wide(shape: Shape, names: Sequence[str], console: Console) -> dict[str, Any]:
    """Extra peak memory where logits of all positions would be seen."""
    peaks = {name: peak_memory("objectives", name, shape) for name in names}
    rows = {
        name: {
            "extra peak MB": f"{peak / MEGABYTE:,.0f}",
            f"more than {BASE}, in [B,T,V]": f"{(peak - peaks[BASE]) / shape.wall:+.2f}",
        }
        for name, peak in peaks.items()
    }
    title = f"memory with {shape.vocabulary:,} entries, chunk_mb {shape.chunk_mb}"
    plain_table(f"{title}; one [B,T,V] is {shape.wall / MEGABYTE:,.0f} MB", rows, console)
    return {"shape": asdict(shape), "wall": shape.wall, "extra_peak_bytes": peaks}
