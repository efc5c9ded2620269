"""Settings that would have no effect, or that contradict each other, before anything is loaded."""

from collections.abc import Sequence

from distillkit.core.errors import ConfigError
from distillkit.core.spec import name_of
from distillkit.core.types import Author
from distillkit.models.pretrained import AdapterExport, SelfTeacher
from distillkit.opinions.base import OnlyReads
from distillkit.opinions.several import Several
from distillkit.programs.train.foreign import check_foreign
from distillkit.run import Distillation, TrainRun, UndoRun
from distillkit.training.settings import Export


def check_fields(run: TrainRun | UndoRun, overrides: Sequence[str]) -> None:
    """Refuse settings that would have no effect, or that contradict each other.

    Raises:
        ConfigError: a shorthand or group that nothing reads.
    """
    used = getattr(run.objective, "divergence", None)
    check_shorthand("beta", run.beta, used, group="divergence", option="jsd")
    check_shorthand("lmbda", run.lmbda, run.policy, group="policy", option="mixed")
    _check_groups(run, overrides)
    _check_labels(run)
    run.objective.check_authors(run.policy.may_write())
    _check_group(run)
    _check_writer(run)
    if run.objective.POLICY_GRADIENT and not run.rollout.neutral:
        raise ConfigError(
            f"objective={name_of(run.objective)} learns from what the student itself would write, "
            "and rollout.temperature, top_k, top_p or min_p makes it write otherwise. Leave "
            "temperature at 1 and the filters off."
        )
    check_foreign(run)
    if isinstance(run.teacher, OnlyReads):
        check_told(run.teacher, run)
    _check_adapter(run)
    if run.teacher is None and (use := use_of_teacher(run)):
        raise ConfigError(
            f"teacher=null, but {use}; choose a teacher, or objective=sft with policy=off_policy."
        )
    if run.checkpoint.export is Export.best and not run.evaluation.every:
        raise ConfigError(
            "checkpoint.export=best needs validations, but evaluation.every=0. Set "
            "evaluation.every above 0, or use checkpoint.export=last."
        )
    if isinstance(run, TrainRun):
        _check_placement(run)
    if isinstance(run, TrainRun) and run.control is not None:
        _check_control(run)
    if run.evaluation.every and run.evaluation.validation == 0:
        raise ConfigError(
            "evaluation.validation=0 leaves nothing to validate on. Raise it, or set "
            "evaluation.every=0 for no validation."
        )


READ_BY = {
    "divergence": ("objective=divergence", ("divergence=", "divergence.")),
    "support": ("objective=divergence", ("support=", "support.")),
    "reward": ("objective=reward", ("reward=", "reward.")),
}
"""Groups that an objective reads by a field of that name, who does, and how one is typed."""


def _check_groups(run: TrainRun | UndoRun, overrides: Sequence[str]) -> None:
    """Refuse a group that was typed and that the objective does not read."""
    objective = name_of(run.objective)
    for group, (reader, starts) in READ_BY.items():
        typed = [item for item in overrides if item.lstrip("+").startswith(starts)]
        if typed and not hasattr(run.objective, group):
            raise ConfigError(
                f"{typed[0]} has no effect with objective={objective}, which has no {group}. "
                f"Remove it, or use {reader}."
            )
    if run.dataset_pt is not None and run.objective.beside() is None:
        typed = [item for item in overrides if item.lstrip("+").startswith("dataset@dataset_pt=")]
        raise ConfigError(
            f"{' '.join(typed) or 'dataset_pt'} has no effect with objective={objective}, which "
            "learns nothing beside its rollouts. Remove it, or use objective=minillm with "
            "objective.pretraining above 0."
        )


def _check_labels(run: TrainRun | UndoRun) -> None:
    """Refuse a budget of labels that cannot be, or that nothing would keep to."""
    budget = run.dataset.labelled
    if budget is not None and budget < 0:
        raise ConfigError(
            f"dataset.labelled={budget} must be at least 0, or null to use the labels of all."
        )
    if budget == 0 and Author.dataset in run.policy.may_write():
        raise ConfigError(
            f"dataset.labelled=0 leaves the dataset nothing to write, and "
            f"policy={name_of(run.policy)} has it write. Raise it, or use policy=on_policy or "
            "policy=seq_kd."
        )
    if budget is not None and isinstance(run, UndoRun):
        raise ConfigError(
            f"dataset.labelled={budget} has no meaning here: undo-iterate checks every lesson by "
            "its question's answer. Use fewer questions with dataset.train."
        )
    for group in ("dataset_pt", "elsewhere"):
        other = getattr(run, group, None)
        if other is not None and other.labelled is not None:
            raise ConfigError(
                f"{group}.labelled={other.labelled} has no effect: it is read with all its "
                "references. Remove it."
            )


def _check_placement(run: TrainRun) -> None:
    """Refuse a layout that the policy cannot have yet."""
    if run.placement.SHARDS and Author.mixture in run.policy.may_write():
        raise ConfigError(
            f"policy={name_of(run.policy)} draws every token from two models at once, which cannot "
            "be had with placement=sharded yet. Use policy=on_policy or policy=mixed, or "
            "placement=replicas."
        )
    if run.placement.SHARDS and isinstance(run.teacher, Several):
        raise ConfigError(
            "teacher=several puts whole models into every process, which placement=sharded is "
            "there to avoid. Use placement=replicas, or a single teacher."
        )


def _check_control(run: TrainRun) -> None:
    """Refuse what would leave a control nothing to learn, to be chosen by or to be compared on."""
    lacks = {
        "is chosen by validation, but evaluation.every=0": not run.evaluation.every,
        "is compared on the test split, but evaluation.test=0": run.evaluation.test == 0,
        "learns from labels, but dataset.labelled=0": run.dataset.labelled == 0,
    }
    for lack in (what for what, found in lacks.items() if found):
        raise ConfigError(f"control=sft {lack}. Set it above 0, or use control=null.")


def _check_group(run: TrainRun | UndoRun) -> None:
    """Refuse several responses to a prompt that would all be the same, or too few of them."""
    run.objective.check_group(run.loop.group)
    if run.loop.group > 1 and not run.policy.may_write() & {Author.student, Author.mixture}:
        raise ConfigError(
            f"loop.group={run.loop.group} asks for several responses to each prompt, and "
            f"policy={name_of(run.policy)} has the same one every time. Set loop.group=1, or use "
            "policy=on_policy."
        )


def _check_writer(run: TrainRun | UndoRun) -> None:
    """Refuse writers that are never asked, or do not say what the run needs of them."""
    if Author.mixture in run.policy.may_write() and run.policy.mixing() is None:
        raise ConfigError(
            f"policy={name_of(run.policy)} has both models write every token and says no share of "
            "the teacher: give it a method mixing, as policy=teacher_mixed has."
        )
    name, writes = name_of(run.writer), Author.student in run.policy.may_write()
    if not writes and not run.writer.IMPLIED:
        raise ConfigError(
            f"writer={name} has no effect with policy={name_of(run.policy)}, under which the "
            "student writes nothing alone. Remove it, or use policy=on_policy."
        )
    if writes and run.objective.POLICY_GRADIENT and not run.writer.tells_drawn():
        raise ConfigError(
            f"objective={name_of(run.objective)} learns from how likely each token was drawn, and "
            f"writer={name} does not say. Use writer=local, or objective=divergence."
        )


def _check_adapter(run: TrainRun | UndoRun) -> None:
    """Refuse an adapter where it cannot be, and what takes one where there is none."""
    if isinstance(run.teacher, SelfTeacher):
        _check_self(run)
    if isinstance(run, UndoRun) and run.student.adapter.export is AdapterExport.adapter:
        raise ConfigError(
            "student.adapter.export=adapter has no meaning here: each iteration begins with a "
            "whole student. Use student.adapter.export=merged."
        )


def _check_self(run: TrainRun | UndoRun) -> None:
    """Refuse a student as its own teacher where nothing tells the two apart."""
    if isinstance(run, UndoRun):
        raise ConfigError(
            "teacher=self learns nothing from lessons that it writes itself. Use teacher=tutor, "
            "teacher=endpoint or a model."
        )
    if not run.student.adapter.rank:
        raise ConfigError(
            "teacher=self is the student without its adapter, and the student has none. Give it "
            "one with student.adapter.rank=8, or choose a model as the teacher."
        )


def use_of_teacher(run: Distillation) -> str | None:
    """What a run needs a model as its teacher for; None where it needs none."""
    if run.objective.needs_teacher():
        return f"objective={name_of(run.objective)} compares with one"
    if run.policy.may_write() & {Author.teacher, Author.mixture}:
        return f"policy={name_of(run.policy)} has it write"
    return None


def check_told(teacher: OnlyReads, run: Distillation) -> None:
    """Refuse a teacher that does not tell what the run would ask of it.

    Raises:
        ConfigError: it tells less than is compared, or is to write.
    """
    name = name_of(teacher)
    teacher.check_authors(run.policy.may_write())
    if (comparison := run.objective.comparison()) is not None:
        comparison.check_told(teacher.gives(), name)
    if run.objective.scores_text() and not teacher.tells_drawn():
        raise ConfigError(
            f"objective={name_of(run.objective)} learns from how likely the teacher finds each "
            f"token that was drawn, and teacher={name} does not say. Use objective=divergence."
        )
    beyond = {Author.mixture} if teacher.writes() else {Author.teacher, Author.mixture}
    if run.policy.may_write() & beyond:
        raise ConfigError(
            f"policy={name_of(run.policy)} has the teacher write, and teacher={name} only reads. "
            "Use policy=on_policy or policy=off_policy."
        )


def check_shorthand(
    name: str, given: float | None, component: object, *, group: str, option: str
) -> None:
    """Refuse a shorthand that nothing reads, or that something else is said beside.

    Raises:
        ConfigError: it would have no effect.
    """
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
