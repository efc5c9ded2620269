"""All checks in the order in which they are made, and how one is made."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from distillkit.core.errors import DistillkitError
from distillkit.preflight import (
    disk,
    ends,
    lengths,
    loading,
    mask,
    memory,
    signal,
    templates,
    texts,
    tokenizers,
    weights,
)
from distillkit.preflight.finding import Finding, Severity, fatal
from distillkit.preflight.foreign import one_vocabulary
from distillkit.preflight.pace import pace
from distillkit.preflight.rounding import rounding
from distillkit.preflight.subject import MissingPartError, Subject
from distillkit.preflight.tracking import tracking


@dataclass(frozen=True, slots=True)
class Check:
    """One look at a run."""

    name: str
    """As it is printed, and as other checks call it when they need it."""
    look: Callable[[Subject], Iterator[Finding]]
    """Yields what it finds; may raise what a run would raise."""
    quick: bool = False
    """Needs no pass through a model and is not made by a run itself, so train makes it."""
    price: float = 0.0
    """What it costs, in passes of both models through the probe batch; 0 where that is nothing."""


CHECKS = (
    Check("place", disk.place),
    Check("disk", disk.disk, quick=True),
    Check("tracker", tracking, quick=True),
    Check("vocabulary", tokenizers.vocabulary),
    Check("encodings", tokenizers.encodings, quick=True),
    Check("heads", weights.heads, quick=True),
    Check("difference", weights.different, quick=True),
    Check("weights", weights.finite, quick=True),
    Check("loading", loading.mended, quick=True),
    Check("ends", ends.each_side, quick=True),
    Check("one end", ends.between_sides),
    Check("memory", memory.state, quick=True),
    Check("cache", loading.cached, quick=True),
    Check("prompts", templates.side_by_side),
    Check("control tokens", texts.spelled, quick=True),
    Check("clock", texts.clock, quick=True),
    Check("chats", texts.chats, quick=True),
    Check("lengths", lengths.lengths),
    # From here on models read and write: each says what it costs before it begins.
    Check("mask", one_vocabulary(mask.mask), price=1),
    Check("signal", one_vocabulary(signal.teacher_signal), price=8),
    Check("zero", one_vocabulary(signal.zero), price=7),
    Check("rounding", one_vocabulary(rounding), price=2),
    Check("peak", one_vocabulary(memory.peak), price=2),
    Check("writing", memory.writing),
    # Last, because it trains the student.
    Check("pace", one_vocabulary(pace), price=30),
)


def examine(check: Check, subject: Subject) -> Iterator[Finding]:
    """What a check finds; whatever ends it is a finding too, so that the others go on."""
    for finding in _caught(check, subject):
        if finding.severity is Severity.fatal:
            subject.refused.add(check.name)
        yield finding


def _caught(check: Check, subject: Subject) -> Iterator[Finding]:
    try:
        yield from check.look(subject)
    except MissingPartError as error:
        yield Finding(Severity.skipped, str(error))
    except DistillkitError as error:
        # Every error of ours says what is wrong, and then the way out.
        what, *mend = re.split(r"\.\s+(?=[A-Z])", str(error), maxsplit=1)
        yield fatal(what, why="train would end with these words", mend="".join(mend))
    except torch.OutOfMemoryError:
        yield fatal(
            "the device ran out of memory",
            why="train would, too",
            mend="Lower loop.micro_batch_tokens or rollout.batch_size, or set "
            "student.gradient_checkpointing=true or precision=bf16",
        )
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        yield fatal(
            f"the check ended in {type(error).__name__}: {first}",
            why="train would probably end so, too",
            mend="Run distillkit train with the same overrides to see where",
        )
