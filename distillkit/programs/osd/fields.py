"""Settings of a stream that contradict each other, before anything is loaded."""

from distillkit.core.errors import ConfigError
from distillkit.core.spec import name_of
from distillkit.core.types import Author
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.online.settings import Routing
from distillkit.programs.train.fields import check_shorthand
from distillkit.run_drafts import OsdRun, ServeRun


def check_fields(run: OsdRun) -> None:
    """Refuse settings of a stream that would have no effect, or that contradict each other.

    Raises:
        ConfigError: there are some.
    """
    check_learning(run)
    if run.routing is not Routing.none and len(run.domain) < 2:
        raise ConfigError(
            f"routing={run.routing} chooses between drafts of several domains, and there is one. "
            "Use routing=none, or domains=embedded."
        )


def check_learning(run: OsdRun | ServeRun) -> None:
    """The same for all that a draft learns by.

    Raises:
        ConfigError: there are some.
    """
    if type(run.objective) is not DivergenceObjective:
        raise ConfigError(
            f"objective={name_of(run.objective)} does not compare with the target at every "
            "position, which is all that serving tells of. Use objective=divergence."
        )
    if run.objective.support.FOREIGN:
        raise ConfigError(
            f"support={name_of(run.objective.support)} is for a teacher of another tokenizer, and "
            "a draft proposes the target's own ids. Use support=full."
        )
    if run.objective.teacher_noise:
        raise ConfigError(
            f"objective.teacher_noise={run.objective.teacher_noise} is drawn for the updates of "
            "distillkit train, and a draft learns while it serves. Set it to 0."
        )
    if Author.dataset in run.policy.may_write():
        raise ConfigError(
            f"policy={name_of(run.policy)} learns from the dataset's text, and a request has none. "
            "Use policy=seq_kd for the target's text, policy=on_policy for the draft's, "
            "policy=teacher_mixed, or policy=mixed policy.otherwise=teacher."
        )
    if run.teacher.draft is not None:
        raise ConfigError(
            f"teacher.draft={run.teacher.draft}, but the draft here is student.name="
            f"{run.student.name}, which learns. Remove it."
        )
    check_shorthand("beta", run.beta, run.divergence, group="divergence", option="jsd")
    check_shorthand("lmbda", run.lmbda, run.policy, group="policy", option="mixed")
    _check_never(run)


def _check_never(run: OsdRun | ServeRun) -> None:
    """Refuse a draft that never learns while something waits for it to."""
    if run.update.interval is not None:
        return
    if run.update.seconds is not None:
        raise ConfigError(
            f"update.seconds={run.update.seconds} has no effect with update.interval=null, a draft "
            "that never learns. Give an interval too, such as update.interval=1000000."
        )
    if run.buffer.keep:
        raise ConfigError(
            "buffer.keep=true keeps requests to learn from, and update.interval=null never learns. "
            "Remove one of them."
        )
