"""Updates of every objective on the same rollouts.

An update here is all that the loop does once the text is there: rewards, the teacher's reading,
the gradient, clipping and AdamW. It runs in the real loop, whose writer hands out text that the
student wrote beforehand.
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

from distillkit.compose import compose
from distillkit.core.clock import Clock
from distillkit.core.types import Author, Example, Response, Rollout
from distillkit.distributed.placement import ALONE
from distillkit.objectives.minillm import MiniLLM
from distillkit.training.appraisal import appraise
from distillkit.training.authors import Part, write_rollouts
from distillkit.training.loop import build_optimizer, distil
from distillkit.training.parts import Parts
from distillkit.training.sampler import Pool
from distillkit.training.settings import LoopSettings
from scripts.bench import pair, steps
from scripts.bench.ours import parts_of, preset_lengths

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

RATE = 1e-6
"""Learning rate: so low that the text stays what the student would write."""

MEMORY_RUNS = 3


@dataclass(frozen=True, slots=True)
class Shape(pair.Shape):
    """Sizes of one update, whose rows are answers to two prompts."""

    chunk_mb: int = 160
    """``objective.chunk_mb``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", len(self.lengths) // 2)

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
        text: what the last update learnt from.
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
            authors={author: Ready(given)},
            objective=run.objective,
            judge=run.objective.judge(run.dataset, device=torch.device("cpu")),
        )
        self.phases: list[dict[str, float]] = []
        self.text: Sequence[Rollout] = ()
        self._updates = distil(parts, build_optimizer(parts))

    def __call__(self) -> float:
        start = time.perf_counter()
        update = next(self._updates)
        seconds = time.perf_counter() - start
        self.phases.append(dict(update.seconds))
        self.text = update.rollouts
        return seconds - update.seconds["rollout"]


class Ready:
    """Hands out text that is there already."""

    def __init__(self, rollouts: Sequence[Rollout]) -> None:
        self._texts = defaultdict[str, list[Response]](list)
        for rollout in rollouts:
            self._texts[rollout.example.id].append(rollout.response)

    def write(
        self, examples: Sequence[Example], *, step: int, part: Part | None = None
    ) -> list[Response]:
        """Each example's texts, one after the other."""
        left = {name: iter(texts) for name, texts in self._texts.items()}
        return [next(left[example.id]) for example in examples]


def ground_of(shape: Shape) -> Parts:
    """What all contenders share but the student: the pair, prompts and settings."""
    parts = parts_of(shape)
    return replace(
        parts,
        pool=Pool.of(parts.pool.examples[: len(shape.lengths) // shape.group]),
        objective=replace(parts.objective, chunk_mb=shape.chunk_mb),
        loop=LoopSettings(batch_size=len(shape.lengths), group=shape.group),
        optimizer=replace(parts.optimizer, lr=RATE),
    )


def write(parts: Parts, shape: Shape) -> list[Rollout]:
    """Have the student answer every prompt, at the preset lengths."""
    examples = [example for example in parts.pool.examples for _ in range(shape.group)]
    with preset_lengths(pair.Ends(shape, parts.sides.student.end_id)):
        authors = [Author.student] * len(examples)
        return [*write_rollouts(examples, authors, authors=parts.authors, step=0).values()]


def as_mixed(parts: Parts, rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The same text as ``policy=teacher_mixed`` hands it over: the teacher's opinion is known."""
    read, _ = appraise(
        rollouts,
        sides=parts.sides,
        objective=MiniLLM(),
        loop=parts.loop,
        placement=ALONE,
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
