"""Studies: many trainings, and what they say together. Fields only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from omegaconf import MISSING

from distillkit.core.bounds import ABOVE_ZERO, FROM_ZERO, POSITIVE, Range, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.evaluation.explanation_study.settings import Levels
from distillkit.run import check_place
from distillkit.training.tracker import Tracker


def check_each(name: str, values: Sequence[float], allowed: Range) -> None:
    """Refuse a list that is empty, says something twice, or holds a number outside its range.

    Raises:
        ConfigError: it does.
    """
    if not values or len(set(values)) < len(values):
        raise ConfigError(f"{name}={values} must hold at least one number, and none twice.")
    for value in values:
        if not (allowed.holds(value) and isfinite(value)):
            raise ConfigError(f"{name}={values}: each must {allowed.rule}, got {value}.")


LEAST = 3
"""Seeds that a test over seeds takes."""


@dataclass(kw_only=True, slots=True)
class Study:
    """What every study has."""

    NOT_IN_FINGERPRINT: ClassVar = ("jobs", "launcher")

    name: str | None = None
    """Name of the study's folder; made of its fingerprint if null."""
    output: str = "outputs"
    """Its folder is ``study/<verb>/<name>`` in here."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Of everything that is done once a seed."""

    def __post_init__(self) -> None:
        check_place(self.name, self.output)
        check_each("seeds", self.seeds, FROM_ZERO)


@dataclass(kw_only=True, slots=True)
class TrainingStudy(Study):
    """What studies have that train."""

    train: str = ""
    """Overrides of all its trainings as one text, such as ``'dataset=journey steps=100'``."""
    jobs: int = 1
    """Trainings side by side on this machine; more than one takes ``distillkit[sweep]``."""
    launcher: str = ""
    """Hydra's overrides for whoever else runs them, such as ``'hydra/launcher=submitit_slurm'``."""

    def __post_init__(self) -> None:
        Study.__post_init__(self)
        check_range(self, "", POSITIVE, "jobs")
        if self.launcher and self.jobs > 1:
            raise ConfigError(
                f"launcher={self.launcher!r} decides how many trainings run side by side. "
                "Remove jobs=..., and say it to the launcher."
            )


@spec("mixture")
class MixtureStudy(Study):
    """Precision and recall of students on mixtures of Gaussians (arXiv:2505.13111, section 4)."""

    seeds: list[int] = field(default_factory=lambda: list(range(20)))
    """Of data, fits and samples."""
    betas: list[float] = MISSING
    """Powers that sharpen the teacher's weights."""
    levels: Levels = MISSING
    tracker: Tracker = MISSING

    def __post_init__(self) -> None:
        Study.__post_init__(self)
        check_each("betas", self.betas, ABOVE_ZERO)


@spec("fidelity")
class FidelityStudy(TrainingStudy):
    """Gain over supervised training against likeness to the teacher (arXiv:2505.15442).

    Every student learns every task from every teacher, once a seed, and once without a teacher.
    The first of ``taus`` and ``noises`` is the grid's; each other one is a departure from it, of
    the first teacher, student and method on the tasks of ``ablation``.
    """

    teachers: dict[str, str] = MISSING
    """By names of one's own: overrides of a supervised training on the task that makes the
    teacher, such as ``'student=embedded steps=200'``, or of a finished one, ``'teacher=embedded'``.
    """
    students: dict[str, str] = MISSING
    """Overrides that choose each student, such as ``'student=pupil'``."""
    tasks: dict[str, str] = MISSING
    """Overrides that choose each dataset, such as ``'dataset=journey'``."""
    methods: dict[str, str] = MISSING
    """Overrides of each way to distil, such as ``'divergence=reverse_kl policy=off_policy'``."""
    supervised: str = ""
    """Overrides of the supervised trainings of students, such as ``'steps=50'``."""
    distilled: str = ""
    """Overrides of all distillations."""
    taus: list[float] = MISSING
    """Temperatures of both sides. AdamW's step does not see the factor tau squared that the paper
    gives the loss."""
    noises: list[float] = MISSING
    """Standard deviations of noise on the teacher's logits."""
    ablation: list[str] = MISSING
    """Tasks on which there are departures."""
    examples: int = 200
    """Test examples of each task, and of each benchmark."""
    data: str | None = None
    """Folder of local rows of the paper's tasks, as ``metric.lm_eval.path``; null for none."""
    benchmarks: list[str] | None = None
    """Those of the paper's tasks on which every student is measured too; all whose rows are at
    hand if null."""

    def __post_init__(self) -> None:
        TrainingStudy.__post_init__(self)
        check_each("taus", self.taus, ABOVE_ZERO)
        check_each("noises", self.noises, FROM_ZERO)
        check_range(self, "", POSITIVE, "examples")
        if len(self.seeds) < LEAST:
            raise ConfigError(
                f"seeds={self.seeds}: the paired tests over seeds take at least {LEAST}. Give "
                "more, as in seeds=[0,1,2]."
            )
        for group in ("teachers", "students", "tasks", "methods"):
            if not getattr(self, group):
                raise ConfigError(f"{group} is empty; give at least one, by a name of your own.")
        if strange := [task for task in self.ablation if task not in self.tasks]:
            raise ConfigError(
                f"ablation={self.ablation} has {strange[0]}, which is no task here. Choose from "
                f"{', '.join(self.tasks)}."
            )
