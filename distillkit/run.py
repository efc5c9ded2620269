"""Runs: the composed spec tree of each verb. Fields only."""

from enum import StrEnum

from omegaconf import MISSING

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Split
from distillkit.datasets.base import Dataset
from distillkit.divergences.base import Divergence
from distillkit.metrics.base import Metric
from distillkit.models.pretrained import Student, Teacher
from distillkit.models.sampling import Sampling, TeacherSampling
from distillkit.objectives.base import Objective
from distillkit.policies.base import Policy
from distillkit.supports.base import Support
from distillkit.training.settings import (
    CheckpointSettings,
    EvaluationSettings,
    LoopSettings,
    OptimizerSettings,
)
from distillkit.training.tracker import Tracker


class Precision(StrEnum):
    """Arithmetic of the models' bodies; logits and losses are always fp32."""

    fp32 = "fp32"
    bf16 = "bf16"


@spec("train")
class TrainRun:
    """One distillation."""

    name: str | None = None
    """Name of the run directory; made of policy, divergence and fingerprint if null."""
    output: str = "outputs"
    """Where run directories and kept teacher texts go."""
    seed: int = 0
    """Root of every random draw."""
    steps: int = 250
    """Updates of the student."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""
    precision: Precision = Precision.fp32
    """``fp32`` or ``bf16``."""
    beta: float | None = None
    """Shorthand of ``divergence.beta``."""
    lmbda: float | None = None
    """Shorthand of ``policy.lmbda``."""
    teacher: Teacher | None = None
    """Null where nothing is learned from one and none is to be measured."""
    student: Student = MISSING
    divergence: Divergence = MISSING
    support: Support = MISSING
    objective: Objective = MISSING
    policy: Policy = MISSING
    dataset: Dataset = MISSING
    rollout: Sampling = MISSING
    """How the student writes while it learns."""
    teacher_rollout: TeacherSampling = MISSING
    """How the teacher writes, where the policy asks it to."""
    loop: LoopSettings = MISSING
    optimizer: OptimizerSettings = MISSING
    checkpoint: CheckpointSettings = MISSING
    evaluation: EvaluationSettings = MISSING
    tracker: Tracker = MISSING

    def __post_init__(self) -> None:
        if self.name is not None and (self.name in ("", ".", "..") or "/" in self.name):
            raise ConfigError(
                f"name={self.name} must be the name of one folder. Choose the place with output=..."
            )
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}.")


@spec("eval")
class EvalRun:
    """Measures a finished run again, on the split and length asked for."""

    run: str = MISSING
    """The run directory."""
    split: Split = Split.test
    """``train``, ``validation`` or ``test``."""
    limit: int | None = None
    """Examples used; null for all."""
    max_new_tokens: int | None = None
    """Longest response; the run's own if null."""
    batch_size: int = 256
    """Prompts written side by side."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""
    metric: dict[str, Metric] = MISSING
    """What is measured, by the names of the group ``metric``."""
    samples: int = 5
    """Responses drawn for each example at temperature 1."""
    seed: int = 0
    """Root of those draws and of the resampling behind intervals."""
    reference: str | None = None
    """Hub name or folder of what stands for the truth in precision; the teacher if null."""
    evidence: str | None = None
    """File that keeps all texts and scores; ``evidence.sqlite`` in the run's output if null."""

    def __post_init__(self) -> None:
        for field in ("limit", "max_new_tokens", "batch_size", "samples"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ConfigError(f"{field} must be at least 1, got {value}.")
