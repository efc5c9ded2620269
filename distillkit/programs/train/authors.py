"""The writers that a run's policy may name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example
from distillkit.models.loading import identity
from distillkit.policies.teacher_mixed import TeacherMixed
from distillkit.run import TrainRun
from distillkit.training.kept_text import kept_text
from distillkit.training.step import Sides
from distillkit.training.writers import (
    DatasetWriter,
    KeptWriter,
    MixtureWriter,
    StudentWriter,
    Writer,
)


def writers_of(
    run: TrainRun,
    sides: Sides,
    examples: Sequence[Example],
    *,
    poll: Callable[[], None],
    say: Callable[[str], None],
) -> Mapping[Author, Writer]:
    """Whoever may write, ready to; where that is the teacher, its text is written here and kept.

    Args:
        run: whose policy, lengths and seed are used.
        sides: the models.
        examples: what the teacher answers.
        poll: called between the teacher's batches; may raise to stop.
        say: told how far the teacher is.
    """
    writers: dict[Author, Writer] = {
        Author.dataset: DatasetWriter(sides.student, sides.readers),
        Author.student: StudentWriter(sides.student, run.rollout, seed=run.seed),
    }
    if Author.teacher in run.policy.may_write():
        assert run.teacher is not None
        assert sides.teacher is not None
        texts = kept_text(
            Path(run.output) / "kept",
            examples,
            teacher=sides.teacher,
            identity=identity(run.teacher, sides.teacher),
            sampling=run.teacher_rollout,
            seed=child_seed(run.seed, "teacher"),
            poll=poll,
            report=lambda done, all_: say(f"teacher wrote {done} of {all_}"),
            say=say,
        )
        writers[Author.teacher] = KeptWriter(texts)
    if isinstance(run.policy, TeacherMixed):
        assert sides.teacher is not None
        writers[Author.mixture] = MixtureWriter(
            sides.student,
            sides.teacher,
            sampling=run.rollout,
            share=run.policy.alpha,
            seed=run.seed,
        )
    return writers
