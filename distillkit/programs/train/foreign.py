"""A teacher of another tokenizer: what cannot be done with one, and who reads for it."""

from collections.abc import Sequence

import torch

from distillkit.core.errors import ConfigError, ModelError
from distillkit.core.spec import name_of
from distillkit.core.types import Author
from distillkit.divergences.apart import FLOOR
from distillkit.divergences.base import Divergence
from distillkit.models.language_model import LanguageModel
from distillkit.models.pair import agree_on_the_end
from distillkit.models.pretrained import SelfTeacher
from distillkit.models.shared_ids import differ, share_ids
from distillkit.objectives.comparison import Comparison, Control
from distillkit.opinions.base import OnlyReads, Reader
from distillkit.opinions.foreign import AlignedReader, MatchedReader, ModelScores
from distillkit.opinions.translation import Translator, shared_tokens
from distillkit.run import Distillation, TrainRun, UndoRun
from distillkit.supports.aligned import Aligned
from distillkit.supports.base import Support
from distillkit.supports.ranked import Ranked
from distillkit.supports.shared_ids import Pairs, SharedIds
from distillkit.training.sides import Sides

INFINITE = 1e6
"""Nats beyond which a divergence counts as infinite."""
INSTEAD = "with objective=divergence support=aligned compares chunks of text"


def foreign_support(run: Distillation) -> Support | None:
    """The support on which tokenizers may differ; None where the run compares on no such."""
    comparison = run.objective.comparison()
    return comparison.support if comparison and comparison.support.FOREIGN else None


def check_foreign(run: TrainRun | UndoRun) -> None:
    """Refuse what takes one vocabulary beside a support that takes none.

    Raises:
        ConfigError: there is some.
    """
    comparison, support = run.objective.comparison(), foreign_support(run)
    if comparison is None or support is None:
        return
    typed = f"support={name_of(support)}"
    if isinstance(run, UndoRun):
        raise ConfigError(
            f"{typed} is not for undo-iterate, whose students go on with one tokenizer. Use "
            "support=full, or distillkit train."
        )
    if isinstance(run.teacher, SelfTeacher):
        raise ConfigError(
            f"{typed} is for a teacher of another tokenizer, and teacher=self has the student's "
            "own. Use support=sampled or support=full."
        )
    if isinstance(run.teacher, OnlyReads) and Author.teacher in run.policy.may_write():
        raise ConfigError(
            f"policy={name_of(run.policy)} has the teacher write, and with {typed} "
            f"teacher={name_of(run.teacher)} would write in its own ids. Use policy=off_policy or "
            "policy=on_policy."
        )
    if Author.mixture in run.policy.may_write():
        raise ConfigError(
            f"policy={name_of(run.policy)} draws every token from two models at once, which takes "
            f"one vocabulary, and {typed} takes none. Use policy=on_policy or policy=mixed."
        )
    if run.placement.SHARDS:
        raise ConfigError(
            f"{typed} reads the student's logits twice, which cannot be had with "
            "placement=sharded yet. Use placement=replicas."
        )
    _check_comparison(comparison, typed)


def _check_comparison(comparison: Comparison, typed: str) -> None:
    support = comparison.support
    if comparison.teacher_noise:
        raise ConfigError(
            f"objective.teacher_noise={comparison.teacher_noise} is added to logits of the "
            f"student's ids, which {typed} has none of. Set it to 0."
        )
    if isinstance(support, Aligned):
        if comparison.control is not Control.none:
            raise ConfigError(
                f"objective.control={comparison.control} gives each position the opinion of "
                f"another one, and with {typed} that is of another chunk. Set it to none."
            )
        if comparison.teacher_temperature != 1:
            raise ConfigError(
                f"objective.teacher_temperature={comparison.teacher_temperature} divides logits, "
                f"and {typed} compares chunks of several tokens. Set it to 1, or use "
                "support.temperature."
            )
    if isinstance(support, Ranked) and support.k is None and is_unbounded(comparison.divergence):
        raise ConfigError(
            f"divergence={name_of(comparison.divergence)} is infinite where one side has no "
            f"probability left, as at the last ranks of {typed} with support.k=null. Use "
            "divergence=tvd or jsd, or set support.k=1024."
        )


def is_unbounded(divergence: Divergence) -> bool:
    """Whether it is infinite where one side finds impossible what the other one may do."""
    even, sure = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.0, FLOOR]])
    both = torch.cat([divergence(even, sure), divergence(sure, even)])
    return not bool((both.abs() < INFINITE).all())


def as_pair(
    run: TrainRun, student: LanguageModel, teacher: LanguageModel
) -> tuple[Sides, list[str]]:
    """Student and teacher as they fit each other, and notes for the user.

    Raises:
        DistillkitError: they do not fit.
    """
    if (support := foreign_support(run)) is not None:
        reader = _reader(support, student, teacher)
        return Sides(student, teacher, reader, same_ids=False), []
    mixes = Author.mixture in run.policy.may_write()
    if not (mixes or run.objective.needs_teacher()) and differ(teacher, student):
        note = "teacher and student have different tokenizers: what one writes the other rereads"
        return Sides(student, teacher, same_ids=False), [note]
    share_ids(teacher, student, instead=INSTEAD)
    return Sides.of(student, teacher), agree_on_the_end(teacher, student)


def _reader(support: Support, student: LanguageModel, teacher: LanguageModel) -> Reader:
    """Who reads for this support."""
    translator = Translator(student, teacher)
    if isinstance(support, Aligned):
        return AlignedReader(translator, ModelScores(teacher), device=student.device)
    if isinstance(support, SharedIds):
        return MatchedReader(translator, teacher, pairs=_pairs(translator, student, teacher))
    if isinstance(support, Ranked):
        least = min(student.head.real, teacher.head.real)
        if support.k is not None and support.k >= least:
            raise ModelError(
                f"support.k={support.k} leaves no other rank: the smaller vocabulary has {least} "
                f"entries. Set support.k below that, or to null with divergence=tvd."
            )
    return MatchedReader(translator, teacher, pairs=None)


def _pairs(translator: Translator, student: LanguageModel, teacher: LanguageModel) -> Pairs:
    of, to = (_real(model) for model in (student, teacher))
    found = shared_tokens(translator.ours, translator.theirs, of=of, to=to)
    both = torch.tensor([*found, (student.end_id, teacher.end_id)], device=student.device)
    pairs = Pairs(both[:, 0].contiguous(), both[:, 1].contiguous())
    _check_others(translator, pairs, (of, to))
    return pairs


def _real(model: LanguageModel) -> frozenset[int]:
    """Ids that the model gives a probability."""
    holes = () if model.head.holes is None else model.head.holes.tolist()
    return frozenset(range(model.head.vocabulary)) - frozenset(holes)


def _check_others(translator: Translator, pairs: Pairs, both: Sequence[frozenset[int]]) -> None:
    """Refuse a vocabulary without tokens of text that the other one lacks.

    What the other has alone would be set against control tokens, and teach the student these.
    """
    sides = (
        ("student", translator.ours, pairs.ours),
        ("teacher", translator.theirs, pairs.theirs),
    )
    for (side, known, shared), real in zip(sides, both, strict=True):
        if not any(known[number] for number in real - set(shared.tolist())):
            raise ModelError(
                f"every token of {side}.name is one of the other model's too, so that "
                "support=shared_ids has nothing to set beside the other's other tokens. Use "
                "support=aligned."
            )
