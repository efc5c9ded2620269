"""Methods whose updates share rollouts, on tiny models."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distillkit.core.types import Answer, Author
from distillkit.divergences.jsd import JensenShannon
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.objectives.base import Objective
from distillkit.objectives.minillm import MiniLLM, Variant
from distillkit.objectives.reward import RewardObjective
from distillkit.objectives.sampled_kl import SampledKL
from distillkit.policies.base import Policy
from distillkit.policies.fixed import OnPolicy
from distillkit.policies.mixed import Draw, Mixed
from distillkit.policies.teacher_mixed import TeacherMixed
from distillkit.supports.full import Full
from distillkit.training.authors import DatasetAuthor
from distillkit.training.parts import OtherText, Parts
from tests.tiny import example
from tests.training.parts import mixture_author, parts

PASSAGES = [
    example("Once upon a time", " there were five apples."),
    example("Then", " seven."),
    example("In the end", " all was well, and 3 is 3."),
]
"""Text of its own to be learnt beside the rollouts."""

METHODS: dict[str, tuple[Policy, Objective | None]] = {
    "divergence": (Mixed(lmbda=0.5, draw=Draw.sequence), None),
    "minillm": (OnPolicy(), MiniLLM()),
    "teacher_mixed": (TeacherMixed(alpha=0.3), MiniLLM(variant=Variant.reference, whiten=True)),
    "reward": (
        OnPolicy(),
        RewardObjective(reward=None, divergence=JensenShannon(), support=Full(), clip=0.2),
    ),
    "sampled_kl": (OnPolicy(), SampledKL(gamma=0.5)),
}
"""Policy and objective; where the latter is None, :func:`parts` chooses."""

GROUPS = {"reward": 2}
"""Responses to each prompt, where there must be several."""


def judge(answers: Sequence[Answer]) -> list[float]:
    """Some number between 0 and 1 that depends on every letter."""
    return [sum(map(ord, answer.text)) % 11 / 10 for answer in answers]


def method(name: str, student: LanguageModel, teacher: LanguageModel, **settings: Any) -> Parts:
    """Parts of a run by one of ``METHODS``; two prompts a batch unless asked otherwise."""
    policy, objective = METHODS[name]
    group = GROUPS.get(name, 1)
    usual = {"batch_size": 2 * group, "group": group}
    made = parts(student, teacher, policy=policy, objective=objective, **{**usual, **settings})
    sampling = Sampling(max_new_tokens=6)
    mixture = mixture_author(student, teacher, sampling, share=0.3, seed=made.seed)
    beside = made.objective.beside()
    return replace(
        made,
        authors={**made.authors, Author.mixture: mixture},
        judge=judge if name == "reward" else None,
        other=beside and OtherText(beside, PASSAGES, DatasetAuthor(student, [student, teacher])),
    )
