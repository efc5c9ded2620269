"""What all parts of an UNDO run share, and how each of its students is trained and questioned."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rich.console import Console

from distillkit.compose import Composed, recompose
from distillkit.core.errors import ConfigError, DataError
from distillkit.core.keeper import Keeper
from distillkit.core.rundir import RunDirectory
from distillkit.core.spec import name_of
from distillkit.core.types import Answer, Author, Example, Split
from distillkit.datasets.base import Dataset
from distillkit.datasets.lessons import Lessons
from distillkit.datasets.mixed import Mixed
from distillkit.evaluation.gathering import ModelEvidence
from distillkit.evaluation.parts import Decoding, Judged, Measured
from distillkit.evaluation.quality import reference_nll
from distillkit.lessons.tutor import RuleTutor, Tutor
from distillkit.metrics.evidence import Whose
from distillkit.models.identity import digest_of
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load, pick_device
from distillkit.models.pretrained import Student, Teacher, of_folder
from distillkit.models.shared_ids import share_ids
from distillkit.opinions.base import OnlyReads
from distillkit.programs.train.assemble import check_evaluated
from distillkit.programs.train.differences import check_same
from distillkit.programs.train.fields import check_fields, use_of_teacher
from distillkit.programs.train.program import train
from distillkit.programs.watch import Watch
from distillkit.run import TrainRun, UndoRun

UNTRUSTED = {"revision": None, "trust_remote_code": False}
"""Of a student that begins with weights of a run directory, as :func:`of_folder` has it."""


@dataclass(frozen=True, slots=True)
class Course:
    """An UNDO run at work."""

    composed: Composed
    """As asked for."""
    directory: RunDirectory
    """Its run directory; the trainings lie under ``train/`` in it."""
    questions: Sequence[Example]
    """The training questions."""
    validation: Sequence[Example]
    """What the student is diagnosed on, and chosen by."""
    answers: Keeper
    """Keeps what students write."""
    replies: Keeper
    """Keeps what teachers write."""
    watch: Watch
    """Tells the person who waits."""
    console: Console
    """Where trainings show themselves."""

    @property
    def run(self) -> UndoRun:
        """The spec tree."""
        run: UndoRun = self.composed.run
        return run

    def train(self, name: str, lessons: Path, *, begin: Path | None, steps: int) -> Path:
        """Train a student on lessons, in a run directory of its own, and return its folder.

        Args:
            name: of the run directory.
            lessons: the file.
            begin: folder of the student to begin with; the run's own if None.
            steps: updates.
        """
        config = self.composed.config
        values = {each.name: config[each.name] for each in fields(TrainRun) if each.name in config}
        imitated = imitated_by(self.run)
        given = {
            "name": name,
            "output": str(self.directory.path),
            "steps": steps,
            "student": values["student"] | ({"name": str(begin), **UNTRUSTED} if begin else {}),
            "teacher": config[imitated] if imitated else None,
            "dataset": {"path": str(lessons)},
            "evaluation": values["evaluation"] | {"test": 0},
        }
        overrides = [
            *(f"{group}={name_of(getattr(self.run, group))}" for group in groups_of(self.run)),
            f"teacher={'hf' if imitated else 'null'}",
            "dataset=lessons",
        ]
        composed = recompose(overrides, values | given)
        directory = RunDirectory(self.directory.path / "train" / name)
        check_same(directory, composed)
        if directory.summary is None:
            train(composed, console=self.console)
        directory.check_left(directory.student.name)
        return directory.student

    def student(self, folder: Path | None) -> LanguageModel:
        """The student of a folder; the one that everything begins with if None."""
        run = self.run
        source: Student = of_folder(run.student, folder) if folder else run.student
        return load(source, device=pick_device(run.device), precision=run.precision)

    def answered(
        self, student: LanguageModel, dataset: Dataset, examples: Sequence[Example]
    ) -> list[Answer]:
        """Greedy answers, judged by the dataset; none is written twice."""
        check_evaluated(examples, [student])
        run = self.run
        length = run.evaluation.max_new_tokens or run.rollout.max_new_tokens
        evidence = ModelEvidence(
            "student",
            Measured(student, digest_of(student.module)),
            teacher=None,
            judged=Judged(dataset, examples),
            decoding=Decoding(length, 1, run.seed, run.evaluation.batch_size),
            keeper=self.answers,
        )
        return list(evidence.greedy(Whose.own))

    def learnability(self, student: LanguageModel, lessons: Path) -> dict[str, float]:
        """Nats a token of the lessons under a student, and their mean length in its tokens."""
        examples = Lessons(path=str(lessons)).examples(Split.train)
        nll = reference_nll(
            student, examples, batch_size=self.run.evaluation.batch_size, poll=self.answers.poll
        )
        tokens = sum(len(student.prompts.reference_ids(example)) for example in examples)
        return {"nll_before": nll, "mean_tokens": tokens / len(examples)}


def check_undo(composed: Composed) -> None:
    """Refuse settings that would have no effect, that contradict each other, or that cannot work.

    Raises:
        ConfigError: there are some.
    """
    run: UndoRun = composed.run
    check_fields(run, composed.overrides)
    if isinstance(run.dataset, Mixed):
        raise ConfigError(
            "dataset=mixed is several datasets, and undo-iterate writes lessons for one. Choose "
            "one of its parts."
        )
    if isinstance(run.teacher, Tutor):
        RuleTutor(run.teacher, run.dataset)
    if isinstance(run.teacher, OnlyReads):
        raise ConfigError(
            f"teacher={name_of(run.teacher)} only reads, and undo-iterate has its teacher write "
            "lessons. Use teacher=tutor, teacher=endpoint or a model."
        )
    if (use := use_of_teacher(run)) and imitated_by(run) is None:
        raise ConfigError(
            f"teacher={name_of(run.teacher)} is no model of this process, but {use}. Give one with "
            "teacher@imitate=hf imitate.name=..., or use objective=sft with policy=off_policy."
        )
    if run.evaluation.validation == 0:
        raise ConfigError(
            "evaluation.validation=0 leaves nothing to diagnose the student on. Raise it, or give "
            "null for all."
        )
    if Author.dataset not in run.policy.may_write():
        raise ConfigError(
            f"policy={name_of(run.policy)} never reads the lessons, so rewriting them changes "
            "nothing. Use policy=off_policy or policy=mixed."
        )


def check_parts(run: UndoRun, examples: Sequence[Example]) -> None:
    """Find out before a lesson is paid for what would end the run later.

    Raises:
        DataError: a dataset has no test split of its own, or a prompt fills the student's context.
        ModelError: a model cannot be loaded, or the student and what it imitates do not fit.
    """
    for field, dataset in {"dataset": run.dataset, "dataset@elsewhere": run.elsewhere}.items():
        if dataset is not None and Split.test not in dataset.splits():
            raise DataError(
                f"{field}={name_of(dataset)} has no test split of its own here, and what chooses "
                "the student cannot judge it too. Give one that has, such as a folder with "
                "test.jsonl."
            )
    device = pick_device(run.device)
    student = load(run.student, device=device, precision=run.precision)
    check_evaluated(examples, [student])
    if (imitated := imitated_by(run)) is not None:
        teacher = load(getattr(run, imitated), device=device, precision=run.precision)
        share_ids(teacher, student)


def imitated_by(run: UndoRun) -> str | None:
    """Which field holds the model that is imitated; None where none is needed, or there is none."""
    if use_of_teacher(run) is None:
        return None
    if run.imitate is not None:
        return "imitate"
    return "teacher" if isinstance(run.teacher, Teacher) else None


def groups_of(run: UndoRun) -> list[str]:
    """Groups that an iteration's training takes over; those that nothing reads are left out."""
    read = ["student", "objective", "policy", "writer", "tracker"]
    return [*read, "divergence", "support"] if hasattr(run.objective, "divergence") else read
