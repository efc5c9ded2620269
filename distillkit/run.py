"""Runs: the composed spec tree of each verb. Fields only."""

from dataclasses import dataclass
from enum import StrEnum

from omegaconf import MISSING

from distillkit.core.bounds import (
    BELOW_ONE,
    FROM_ZERO,
    LONGEST,
    MANY,
    POSITIVE,
    check_bound,
    check_range,
)
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Split
from distillkit.datasets.base import Dataset
from distillkit.distributed.settings import PlacementSettings
from distillkit.divergences.base import Divergence
from distillkit.lessons.prompts import Prompts
from distillkit.lessons.settings import Writing
from distillkit.metrics.base import Metric
from distillkit.models.pretrained import AnyTeacher, Readable, Student, Teacher
from distillkit.models.sampling import Sampling, TeacherSampling
from distillkit.objectives.base import Objective
from distillkit.opinions.cache_layout import Kept
from distillkit.policies.base import Policy
from distillkit.rewards.base import Reward
from distillkit.supports.base import Support
from distillkit.training.control import SftControl
from distillkit.training.guard import GuardSettings
from distillkit.training.settings import (
    CheckpointSettings,
    EvaluationSettings,
    LoopSettings,
    OptimizerSettings,
)
from distillkit.training.tracker import Tracker
from distillkit.writers.base import WriterSettings

LONGEST_NAME = 200
"""Bytes of a folder's name; file systems take 255, and files beside it are named after it."""


def check_place(name: str | None, output: str) -> None:
    """Refuse names that no folder can have.

    Raises:
        ConfigError: ``name`` is no name of one folder, or a part of either is too long.
    """
    if name is not None and (name in ("", ".", "..") or "/" in name):
        raise ConfigError(
            f"name={name} must be the name of one folder. Choose the place with output=..."
        )
    for field, value in {"name": name, "output": output}.items():
        parts = (value or "").split("/")
        if (longest := max(len(part.encode()) for part in parts)) > LONGEST_NAME:
            raise ConfigError(
                f"{field} has {longest} bytes in one name, and a folder's may have "
                f"{LONGEST_NAME}. Choose a shorter one."
            )


class Precision(StrEnum):
    """Arithmetic of the models' bodies; logits and losses are always fp32."""

    fp32 = "fp32"
    bf16 = "bf16"


@dataclass(kw_only=True, slots=True)
class Distillation:
    """What every training of a student is made of, save its teacher."""

    name: str | None = None
    """Name of the run directory; made of the settings and the fingerprint if null."""
    output: str = "outputs"
    """Where run directories and kept texts go."""
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
    student: Student = MISSING
    divergence: Divergence = MISSING
    support: Support = MISSING
    objective: Objective = MISSING
    policy: Policy = MISSING
    writer: WriterSettings = MISSING
    """Who writes the student's text."""
    dataset: Dataset = MISSING
    rollout: Sampling = MISSING
    """How the student writes while it learns."""
    teacher_rollout: TeacherSampling = MISSING
    """How the teacher writes, where the policy asks it to."""
    loop: LoopSettings = MISSING
    optimizer: OptimizerSettings = MISSING
    checkpoint: CheckpointSettings = MISSING
    evaluation: EvaluationSettings = MISSING
    reward: Reward = MISSING
    """What an answer is worth, where the objective asks."""
    dataset_pt: Dataset | None = None
    """Pre-training text that is learnt beside the rollouts, where the objective asks for it."""
    guard: GuardSettings = MISSING
    tracker: Tracker = MISSING

    def __post_init__(self) -> None:
        check_place(self.name, self.output)
        check_range(self, "", POSITIVE, "steps")


@spec("train")
class TrainRun(Distillation):
    """One distillation."""

    teacher: Readable | None = None
    """Null where nothing is learned from one and none is to be measured."""
    control: SftControl | None = None
    """What the student is compared with at the end, trained once and kept; null for nothing."""
    placement: PlacementSettings = MISSING
    """Which processes hold what."""


@spec("cache")
class CacheRun:
    """What a teacher thinks of texts, kept for trainings to come."""

    name: str | None = None
    """Name of the cache's folder; made of the settings and the fingerprint if null."""
    output: str = "outputs"
    """Where caches and kept texts go."""
    seed: int = 0
    """Root of the teacher's text and of all draws."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""
    precision: Precision = Precision.fp32
    """``fp32`` or ``bf16``."""
    teacher: Readable = MISSING
    """Who is asked; any that a training may learn from."""
    student: Student = MISSING
    """Whose ids and ends are meant; students of its tokenizer may learn from the cache."""
    dataset: Dataset = MISSING
    policy: Policy = MISSING
    """Whose text is read: ``off_policy`` the dataset's, ``seq_kd`` the teacher's own."""
    support: Support = MISSING
    """What is kept of a distribution; ``full`` keeps the last hidden states and the head."""
    teacher_rollout: TeacherSampling = MISSING
    """How the teacher writes, where the policy asks it to."""
    kept: Kept = Kept.float32
    """Floating type of log-probabilities, weights and states on disk."""
    shard_mb: int = 256
    """Mebibytes of a file."""
    micro_batch_tokens: int = 16384
    """Most padded tokens that the teacher reads side by side."""
    max_prompt_tokens: int | None = None
    """Longer prompts are dropped; null drops none."""

    def __post_init__(self) -> None:
        check_place(self.name, self.output)
        check_range(self, "", POSITIVE, "shard_mb", "micro_batch_tokens", "max_prompt_tokens")


class Begin(StrEnum):
    """Which student an iteration begins with."""

    first = "first"
    previous = "previous"


class Lessons(StrEnum):
    """Which lessons an iteration trains on."""

    newest = "newest"
    all = "all"


@dataclass(kw_only=True, slots=True)
class EvidenceSettings:
    """Validation questions that a teacher is shown with each training question."""

    wrong: int = 6
    """Those that the student fails, drawn anew for each question, by kind of error."""
    right: int = 2
    """Those that it does not fail, for contrast."""

    def __post_init__(self) -> None:
        check_range(self, "evidence.", POSITIVE, "wrong")
        check_range(self, "evidence.", FROM_ZERO, "right")


@dataclass(kw_only=True, slots=True)
class Controls:
    """Comparisons without which a gain proves nothing, each a row of its own."""

    one_shot: bool = True
    """The first lessons alone, for as many gradient steps as all iterations took together."""
    untargeted: bool = True
    """As many rewritings by a teacher that is shown no error."""
    length_matched: bool = True
    """The same, asked to write lessons as long as the targeted ones."""


@spec("undo")
class UndoRun(Distillation):
    """Lessons rewritten for the student's errors (UNDO, arXiv:2504.02521)."""

    teacher: AnyTeacher = MISSING
    """Who writes the lessons."""
    imitate: Teacher | None = None
    """The model that ``objective=divergence`` imitates; the teacher itself where it is a model."""
    elsewhere: Dataset | None = None
    """Another dataset on whose test split the students are measured too; null for none."""
    prompt: Prompts = MISSING
    """How a teacher is asked."""
    writing: Writing = MISSING
    """How a local teacher writes."""
    retries: int = 2
    """How often a lesson that is not accepted is asked for again."""
    evidence: EvidenceSettings = MISSING
    begin: Begin = Begin.first
    """``first`` restarts every iteration from the same student, ``previous`` goes on."""
    lessons: Lessons = Lessons.newest
    """``newest`` trains on the last round's lessons, ``all`` on those of all rounds so far."""
    iterations: int = 3
    """Most rewritings."""
    patience: int = 1
    """Iterations without a gain after which to stop."""
    min_gain: float | None = None
    """Validation accuracy that counts as a gain; null is one binomial standard error, at least
    half a point."""
    controls: Controls = MISSING
    replies: str | None = None
    """File that keeps what teachers wrote; ``replies.sqlite`` in ``output`` if null."""

    def __post_init__(self) -> None:
        Distillation.__post_init__(self)
        check_range(self, "", POSITIVE, "iterations", "patience")
        check_range(self, "", FROM_ZERO, "retries")
        check_range(self, "", BELOW_ONE, "min_gain", hint="It is a share of right answers.")


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
    trust_remote_code: bool = False
    """Run the code of its models' repositories that the training was allowed to run."""

    def __post_init__(self) -> None:
        check_range(self, "", POSITIVE, "limit", "max_new_tokens", "batch_size", "samples")
        check_bound("max_new_tokens", self.max_new_tokens, LONGEST)
        check_bound("samples", self.samples, MANY)
