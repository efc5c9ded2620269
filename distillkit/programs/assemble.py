"""A run's parts, built and checked before the run directory is claimed."""

from collections.abc import Sequence
from dataclasses import dataclass

from distillkit.core.errors import ConfigError, DataError
from distillkit.core.spec import name_of
from distillkit.core.types import Author, Example, Split
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import agree_on_the_end, check_pair, load, pick_device
from distillkit.run import Distillation, TrainRun, UndoRun
from distillkit.training.settings import Export
from distillkit.training.step import Sides


@dataclass(frozen=True, slots=True)
class Assembled:
    """Models and examples of a run, with what the user should be told about them."""

    sides: Sides
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    notes: tuple[str, ...]


def check_fields(run: TrainRun | UndoRun, overrides: Sequence[str]) -> None:
    """Refuse settings that would have no effect, or that contradict each other.

    Raises:
        ConfigError: a shorthand or group that nothing reads.
    """
    used = getattr(run.objective, "divergence", None)
    _check_shorthand("beta", run.beta, used, group="divergence", option="jsd")
    _check_shorthand("lmbda", run.lmbda, run.policy, group="policy", option="mixed")
    groups = ("divergence=", "divergence.", "support=", "support.")
    typed = [item for item in overrides if item.lstrip("+").startswith(groups)]
    if typed and used is None:
        raise ConfigError(
            f"{typed[0]} has no effect with objective=sft, which has no divergence. "
            "Remove it, or use objective=divergence."
        )
    run.objective.check_authors(run.policy.may_write())
    if run.teacher is None and (use := use_of_teacher(run)):
        raise ConfigError(
            f"teacher=null, but {use}; choose a teacher, or objective=sft with policy=off_policy."
        )
    if run.checkpoint.export is Export.best and not run.evaluation.every:
        raise ConfigError(
            "checkpoint.export=best needs validations, but evaluation.every=0. Set "
            "evaluation.every above 0, or use checkpoint.export=last."
        )
    if run.evaluation.every and run.evaluation.validation == 0:
        raise ConfigError(
            "evaluation.validation=0 leaves nothing to validate on. Raise it, or set "
            "evaluation.every=0 for no validation."
        )


def use_of_teacher(run: Distillation) -> str | None:
    """What a run needs a model as its teacher for; None where it needs none."""
    if hasattr(run.objective, "divergence"):
        return f"objective={name_of(run.objective)} compares with one"
    if run.policy.may_write() & {Author.teacher, Author.mixture}:
        return f"policy={name_of(run.policy)} has it write"
    return None


def _check_shorthand(
    name: str, given: float | None, component: object, *, group: str, option: str
) -> None:
    if given is None:
        return
    if not hasattr(component, name):
        raise ConfigError(
            f"{name}={given} has no effect here: only {group}={option} has a {name}. "
            f"Remove {name}, or use {group}={option}."
        )
    found = getattr(component, name)
    if found != given:
        raise ConfigError(
            f"{name}={given} has no effect here: {group}.{name} is set to {found}. Give only one."
        )


def assemble(run: TrainRun) -> Assembled:
    """Load the data, then the models, and check that they fit each other.

    Raises:
        DistillkitError: anything that would end or falsify the run later.
    """
    device = pick_device(run.device)
    examples = {split: run.dataset.examples(split) for split in splits(run)}
    teacher = None
    if run.teacher is not None:
        teacher = load(run.teacher, device=device, precision=run.precision)
    student = load(run.student, device=device, precision=run.precision)
    models, notes = [student], list[str]()
    if teacher is not None:
        check_pair(teacher, student)
        notes += agree_on_the_end(teacher, student)
        models.append(teacher)
    train, dropped = _fitting(run, examples[Split.train], models)
    if dropped:
        notes.append(f"dropped {dropped} prompts over loop.max_prompt_tokens")
    validation = examples.get(Split.validation, ())[: run.evaluation.validation]
    test = examples.get(Split.test, ())[: run.evaluation.test]
    check_evaluated([*validation, *test], models)
    return Assembled(
        sides=Sides(student=student, teacher=teacher),
        train=train,
        validation=validation,
        test=test,
        notes=tuple(notes),
    )


def splits(run: TrainRun) -> list[Split]:
    """The splits that a run reads."""
    wanted = [Split.train]
    if run.evaluation.every:
        wanted.append(Split.validation)
    if run.evaluation.test != 0:
        wanted.append(Split.test)
    return wanted


def _fitting(
    run: TrainRun, examples: Sequence[Example], models: Sequence[LanguageModel]
) -> tuple[list[Example], int]:
    """Examples whose prompt leaves room for a whole response; none is ever truncated."""
    limit, needed = run.loop.max_prompt_tokens, room(run)
    kept = []
    for example in examples:
        length = max(len(model.prompts.prompt_ids(example)) for model in models)
        if limit is not None and length > limit:
            continue
        context = min(model.context for model in models)
        if length + needed > context:
            raise DataError(
                f"the prompt of {example.id} has {length} tokens, which leaves no room for "
                f"{needed} more in a context of {context}. Set loop.max_prompt_tokens="
                f"{max(1, context - needed)} to drop such prompts, or lower rollout.max_new_tokens."
            )
        if run.policy.may_write() == {Author.dataset} and not example.reference:
            raise DataError(
                f"{example.id} has no reference response, which policy=off_policy trains on. "
                "Use policy=on_policy or policy=seq_kd, or another split."
            )
        kept.append(example)
    if not kept:
        raise DataError(f"loop.max_prompt_tokens={limit} drops every training prompt. Raise it.")
    return kept, len(examples) - len(kept)


def check_evaluated(examples: Sequence[Example], models: Sequence[LanguageModel]) -> None:
    """Refuse prompts that leave a model no room for an answer.

    Raises:
        DataError: there is one.
    """
    for example in examples:
        for model in models:
            length = len(model.prompts.prompt_ids(example))
            if length >= model.context:
                raise DataError(
                    f"the prompt of {example.id} has {length} tokens, which leaves no room for an "
                    f"answer in a context of {model.context}. Leave the row out, or choose a "
                    "model with more room."
                )


def room(run: TrainRun) -> int:
    """Response tokens that every training prompt must leave room for."""
    authors = run.policy.may_write()
    drawn = authors & {Author.student, Author.mixture}
    student = run.rollout.max_new_tokens if drawn else 1
    teacher = run.teacher_rollout.max_new_tokens if Author.teacher in authors else 1
    return max(student, teacher)
