"""A run's parts, built and checked before the run directory is claimed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from distillkit.core.errors import DataError
from distillkit.core.seeds import child_seed
from distillkit.core.spec import name_of
from distillkit.core.types import Author, Example, Split
from distillkit.distributed.placement import ALONE, Placement
from distillkit.models.adapted import below
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import pick_device
from distillkit.models.pair import load_both
from distillkit.models.pretrained import SelfTeacher, Teacher
from distillkit.opinions.base import Asked, OnlyReads, Reader
from distillkit.programs.train.foreign import as_pair
from distillkit.rewards.base import Judge
from distillkit.run import Distillation, TrainRun
from distillkit.training.authors import writer_of
from distillkit.training.parts import OtherText, other_text
from distillkit.training.sides import Sides
from distillkit.writers.base import Writer


@dataclass(frozen=True, slots=True)
class Assembled:
    """Models and examples of a run, with what the user should be told about them."""

    sides: Sides
    placement: Placement
    """Where they are, and who writes."""
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    notes: tuple[str, ...]
    writer: Writer | None = None
    """Of the student's text, where the policy asks for any."""
    judge: Judge | None = None
    """Gives rollouts their rewards, where the objective asks."""
    other: OtherText | None = None
    """Learnt beside the rollouts, where the objective asks."""


def assemble(run: TrainRun, placement: Placement = ALONE) -> Assembled:
    """Load the data, then the models, and check that they fit each other; called by all processes.

    Raises:
        DistillkitError: anything that would end or falsify the run later.
    """
    device = placement.device(pick_device(run.device))
    gathered = run.dataset.gather(splits(run))
    examples = gathered.examples
    check_references(run, examples[Split.train])
    if isinstance(run.teacher, OnlyReads):
        run.teacher.check_asked(examples[Split.train])
    sides, fitted = _sides(run, device, placement)
    notes = [*(remark.sentence() for remark in gathered.remarks), *fitted]
    if sides.reader is not None:
        sides.reader.know(examples[Split.train])
    train, dropped = fitting(
        examples[Split.train],
        sides.readers,
        limit=run.loop.max_prompt_tokens,
        needed=room_needed(run),
    )
    if dropped:
        notes.append(f"dropped {dropped} prompts over loop.max_prompt_tokens")
    validation = examples.get(Split.validation, ())[: run.evaluation.validation]
    test = examples.get(Split.test, ())[: run.evaluation.test]
    check_evaluated([*validation, *test], sides.models)
    other = other_text(run.objective, run.dataset_pt, sides=sides)
    if other is not None:
        notes += [f"dataset_pt: {remark.sentence()}" for remark in other.remarks]
    return Assembled(
        sides=sides,
        placement=placement,
        train=train,
        validation=validation,
        test=test,
        notes=tuple(notes),
        writer=writer_of(run.policy, run.writer, sides.student),
        judge=run.objective.judge(run.dataset, device=device),
        other=other,
    )


def _sides(run: TrainRun, device: torch.device, placement: Placement) -> tuple[Sides, list[str]]:
    """The student and whom it learns from, and notes on how they fit."""
    teacher = run.teacher if isinstance(run.teacher, Teacher) else None
    student, model = load_both(
        run.student, teacher, device=device, precision=run.precision, placement=placement
    )
    pair = None if model is None else as_pair(run, student, model)
    student.begin(child_seed(run.seed, "init"))
    if pair is not None:
        return pair
    if isinstance(run.teacher, OnlyReads):
        reader = run.teacher.open(student, asked_of(run))
        return Sides(student, reader=reader), [*reader.notes]
    if isinstance(run.teacher, SelfTeacher):
        return Sides.of(student, below(student, run.teacher)), []
    return Sides(student), []


def asked_of(run: Distillation) -> Asked:
    """What a run wants to know of a teacher that is no model of this process."""
    comparison = run.objective.comparison()
    return Asked(
        support=None if comparison is None else comparison.support,
        drawn=run.objective.scores_text(),
        precision=run.precision,
        folder=Path(run.output) / "kept",
    )


def splits(run: TrainRun) -> list[Split]:
    """The splits that a run reads."""
    wanted = [Split.train]
    if run.evaluation.every:
        wanted.append(Split.validation)
    if run.evaluation.test != 0:
        wanted.append(Split.test)
    return wanted


def fitting(
    examples: Sequence[Example],
    readers: Sequence[LanguageModel | Reader],
    *,
    limit: int | None,
    needed: int,
    field: str = "loop.max_prompt_tokens",
) -> tuple[list[Example], int]:
    """Examples whose prompt leaves room for a whole response; none is ever truncated.

    Args:
        examples: to choose from.
        readers: who has to find room.
        limit: longest prompt, others are dropped; None drops none.
        needed: tokens of a response.
        field: of the limit, as it is typed.

    Returns:
        Those that are kept, and how many are not.

    Raises:
        DataError: a prompt leaves no room, or none is kept.
    """
    kept = []
    for example in examples:
        length = max(reader.prompt_length(example) for reader in readers)
        if limit is not None and length > limit:
            continue
        context = min(reader.context for reader in readers)
        if length + needed > context:
            raise DataError(
                f"the prompt of {example.id} has {length} tokens, which leaves no room for "
                f"{needed} more in a context of {context}. Set {field}="
                f"{max(1, context - needed)} to drop such prompts, or lower "
                f"{'rollout' if field.startswith('loop') else 'teacher_rollout'}.max_new_tokens."
            )
        kept.append(example)
    if not kept:
        raise DataError(f"{field}={limit} drops every training prompt. Raise it.")
    return kept, len(examples) - len(kept)


def check_references(run: TrainRun, examples: Sequence[Example]) -> None:
    """Refuse prompts without an answer where the dataset may write: the end alone would be taught.

    Raises:
        DataError: there are some.
    """
    learnt = f"policy={name_of(run.policy)} trains"
    if Author.dataset not in run.policy.may_write():
        if run.control is None:
            return
        learnt = "control=sft would train"
    known = examples[: run.dataset.labelled]
    blank = [example.id for example in known if not example.teaches]
    if blank:
        others = f", as {len(blank) - 1} others have none," if len(blank) > 1 else ","
        raise DataError(
            f"{blank[0]} has no reference response{others} and {learnt} on the dataset's. Use "
            "policy=on_policy or policy=seq_kd without a control, or leave such rows out."
        )


def check_evaluated(examples: Sequence[Example], models: Sequence[LanguageModel]) -> None:
    """Refuse prompts that leave a model no room for an answer.

    Raises:
        DataError: there is one.
    """
    for example in examples:
        for model in models:
            length = model.prompt_length(example)
            if length >= model.context:
                raise DataError(
                    f"the prompt of {example.id} has {length} tokens, which leaves no room for an "
                    f"answer in a context of {model.context}. Leave the row out, or choose a "
                    "model with more room."
                )


def room_needed(run: TrainRun) -> int:
    """Response tokens that every training prompt must leave room for."""
    authors = run.policy.may_write()
    drawn = authors & {Author.student, Author.mixture}
    student = run.rollout.max_new_tokens if drawn else 1
    teacher = run.teacher_rollout.max_new_tokens if Author.teacher in authors else 1
    return max(student, teacher)
