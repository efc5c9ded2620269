"""How drafts learn, from the settings of a run."""

from distillkit.objectives.divergence import DivergenceObjective
from distillkit.online.draft import Learning
from distillkit.run_drafts import Drafting
from distillkit.supports.top_k import TeacherTopK


def learning_of(run: Drafting, *, updates: int) -> Learning:
    """What every draft of a run learns by; schedules count on so many updates."""
    assert isinstance(run.objective, DivergenceObjective), "refused before anything is loaded"
    return Learning(
        objective=run.objective,
        policy=run.policy,
        update=run.update,
        optimizer=run.optimizer,
        rollout=run.rollout,
        updates=updates,
        seed=run.seed,
    )


def labels_of(run: Drafting) -> int:
    """Entries of the target's opinion that are worth keeping of every token; 0 for none.

    Where more is compared than some entries, the target reads the text again.
    """
    return run.support.k if isinstance(run.support, TeacherTopK) else 0
