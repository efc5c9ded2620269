"""Gain against likeness to the teacher. Fields only."""

from omegaconf import MISSING

from distillkit.core.bounds import ABOVE_ZERO, FROM_ZERO, POSITIVE, check_range
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.run_studies.base import LEAST_SEEDS, TrainingStudy, check_each


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
        if len(self.seeds) < LEAST_SEEDS:
            raise ConfigError(
                f"seeds={self.seeds}: the paired tests over seeds take at least {LEAST_SEEDS}. "
                "Give more, as in seeds=[0,1,2]."
            )
        for group in ("teachers", "students", "tasks", "methods"):
            if not getattr(self, group):
                raise ConfigError(f"{group} is empty; give at least one, by a name of your own.")
        if strange := [task for task in self.ablation if task not in self.tasks]:
            raise ConfigError(
                f"ablation={self.ablation} has {strange[0]}, which is no task here. Choose from "
                f"{', '.join(self.tasks)}."
            )
