"""What one process of a run holds, part by part, and in which phase of the run it is there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from distillkit.distributed.placement import Placement


class Phase(StrEnum):
    """What a run does at one time; what one phase holds beside the weights, the others do not."""

    load = "load"
    """What cannot be read in parts is read whole by every process, and dealt out then."""
    train = "train"
    """The teacher reads, the student learns."""
    student = "student writes"
    """Rollouts, or the answers of a validation, with all of its weights in every process."""
    teacher = "teacher writes"
    """Lessons, or the answers of its test, before the first update."""


ALWAYS = frozenset(Phase)
LOADING, TRAINING = frozenset({Phase.load}), frozenset({Phase.train})
LEARNT = frozenset({Phase.train, Phase.student})
"""Once there was an update. Gradients stay until the next one begins."""


@dataclass(frozen=True, slots=True)
class Row:
    """One part of what a process holds, in bytes."""

    name: str
    student: int = 0
    teacher: int = 0
    when: frozenset[Phase] = ALWAYS
    """When the student's is there."""
    also: frozenset[Phase] | None = None
    """When the teacher's is, if at other times."""
    in_turn: bool = False
    """Whether one side's has gone when the other's comes."""

    def bytes_in(self, phase: Phase) -> int:
        """In one phase."""
        both = (self.student * (phase in self.when), self.teacher * (phase in self._others))
        return max(both) if self.in_turn else sum(both)

    def within(self, phases: Sequence[Phase]) -> "Row | None":
        """What is ever there in a run of these phases; None where nothing is."""
        ours = self.student if self.when & {*phases} else 0
        theirs = self.teacher if self._others & {*phases} else 0
        return replace(self, student=ours, teacher=theirs) if ours or theirs else None

    @property
    def _others(self) -> frozenset[Phase]:
        return self.when if self.also is None else self.also


@dataclass(frozen=True, slots=True)
class DryRun:
    """What one process of a run would hold."""

    placement: Placement
    rows: Sequence[Row]
    phases: Sequence[Phase]
    """Those that the run has."""
    micro_batch: tuple[int, int]
    """Rows and tokens of each in the largest micro-batch."""
    notes: Sequence[str]

    def total(self, phase: Phase) -> int:
        """Bytes in one phase."""
        return sum(row.bytes_in(phase) for row in self.rows)

    @property
    def largest(self) -> Phase:
        """The phase that needs most; they exclude each other, so this is the peak."""
        return max(self.phases, key=self.total)

    @property
    def state(self) -> int:
        """Bytes of weights, gradients and moments: what no setting of a micro-batch makes less."""
        return sum(row.student + row.teacher for row in self.rows if row.name in STATE)


STATE = ("weights", "gradients", "AdamW moments")
