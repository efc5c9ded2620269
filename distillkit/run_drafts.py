"""Runs in which a draft learns while it serves a stream, or all who ask. Fields only."""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from distillkit.core.bounds import FROM_ZERO, LONGEST, POSITIVE, check_bound, check_range
from distillkit.core.spec import spec
from distillkit.datasets.base import Dataset
from distillkit.divergences.base import Divergence
from distillkit.models.pretrained import Student, Teacher
from distillkit.models.sampling import Sampling
from distillkit.objectives.base import Objective
from distillkit.online.settings import (
    BufferSettings,
    OfflineSettings,
    ProbeSettings,
    Routing,
    UpdateSettings,
)
from distillkit.online.streams import Stream
from distillkit.policies.base import Policy
from distillkit.run import Precision, check_place
from distillkit.serving.settings import LimitSettings
from distillkit.supports.base import Support
from distillkit.training.settings import CheckpointSettings, OptimizerSettings
from distillkit.training.tracker import Tracker


@dataclass(kw_only=True, slots=True)
class Drafting:
    """What both are made of."""

    name: str | None = None
    """Name of the run directory; made of the settings and the fingerprint if null."""
    output: str = "outputs"
    """Where run directories go."""
    seed: int = 0
    """Root of every random draw, but for answers over HTTP: a request may bring a seed."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""
    precision: Precision = Precision.fp32
    """``fp32`` or ``bf16``."""
    beta: float | None = None
    """Shorthand of ``divergence.beta``."""
    lmbda: float | None = None
    """Shorthand of ``policy.lmbda``."""
    teacher: Teacher = MISSING
    """The target: answers every request."""
    student: Student = MISSING
    """The draft: proposes, and learns."""
    proposals: int = 5
    """Tokens that a draft proposes in a round."""
    rollout: Sampling = MISSING
    """How requests are answered; ``batch_size`` of them side by side."""
    divergence: Divergence = MISSING
    support: Support = MISSING
    objective: Objective = MISSING
    policy: Policy = MISSING
    """Whose text a draft learns from: the target's as it was served, its own, or a mixture."""
    update: UpdateSettings = MISSING
    buffer: BufferSettings = MISSING
    optimizer: OptimizerSettings = MISSING
    checkpoint: CheckpointSettings = MISSING
    """Counts requests of a stream, and updates of a service."""

    def __post_init__(self) -> None:
        check_place(self.name, self.output)
        check_range(self, "", POSITIVE, "proposals")
        check_bound("proposals", self.proposals, LONGEST)


@spec("osd")
class OsdRun(Drafting):
    """Speculative decoding whose draft learns while it serves (arXiv:2310.07177)."""

    domain: dict[str, Dataset] = MISSING
    """Where prompts come from, by names of one's own, in the order of the stream."""
    stream: Stream = MISSING
    routing: Routing = Routing.none
    """``none``, or a draft for each ``domain``, known by its name or by a ``classifier``."""
    offline: OfflineSettings = MISSING
    probe: ProbeSettings = MISSING
    tracker: Tracker = MISSING


@spec("serve")
class ServeRun(Drafting):
    """The same for requests that come over HTTP."""

    NOT_IN_FINGERPRINT: ClassVar = ("host", "port", "key_variable", "limits")

    host: str = "127.0.0.1"
    """Address to listen at."""
    port: int = 8000
    """Its port; 0 for any that is free."""
    key_variable: str = "DISTILLKIT_API_KEY"
    """Environment variable of the key that clients must send; it may be unset on 127.0.0.1."""
    limits: LimitSettings = MISSING

    def __post_init__(self) -> None:
        Drafting.__post_init__(self)
        check_range(self, "", FROM_ZERO, "port")
