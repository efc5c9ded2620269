"""What a teacher loses where it was asked to be kept in a narrower type."""

from collections.abc import Iterator
from dataclasses import replace

from distillkit.evaluation.scoring import as_compared, side_by_side
from distillkit.models.language_model import LanguageModel
from distillkit.models.loading import load
from distillkit.models.pretrained import DType, Teacher
from distillkit.models.shared_ids import share_ids
from distillkit.preflight.finding import Finding, ok, warning
from distillkit.preflight.sizes import size
from distillkit.preflight.subject import MissingPartError, Subject

NARROW = (DType.bfloat16, DType.float16)
LOUD = 0.1
"""Part of the distance between teacher and student from which rounding is told as a warning."""
NOTHING = 1e-9
"""Distance in nats below which two models are one."""


def rounding(subject: Subject) -> Iterator[Finding]:
    """The teacher beside itself in fp32, on the probe batch; nothing where it was not asked for."""
    source, teacher = subject.run.teacher, subject.teacher
    if not isinstance(source, Teacher) or source.dtype not in NARROW:
        return
    subject.needs("vocabulary")
    needed = 4 * sum(each.numel() for each in teacher.module.parameters())
    free = subject.machine.free_memory(teacher.device)
    if free is not None and needed > free:
        raise MissingPartError(f"the teacher in float32 takes {size(needed)}, {size(free)} is free")
    asked = replace(source, dtype=DType.float32, draft=None)
    wide = load(asked, device=teacher.device, precision="fp32")
    share_ids(wide, subject.student)
    off, other = _apart(subject, wide, teacher)
    apart, _ = _apart(subject, wide, subject.student)
    part = off / max(apart, NOTHING)
    said = (
        f"kept in {source.dtype} the teacher is {off:.2g} nats a token from itself in float32, "
        f"{part:.2g} of the {apart:.2g} between it and the student; its likeliest token is another "
        f"at {other:.1%} of the positions"
    )
    if part > LOUD:
        yield warning(
            said,
            why="the student would learn what rounding says",
            mend="Set teacher.dtype=float32",
        )
    else:
        yield ok(said)


def _apart(subject: Subject, wide: LanguageModel, model: LanguageModel) -> tuple[float, float]:
    """Forward KL a token in nats, and the share of positions with another likeliest token."""
    probe = subject.probe
    prompts = zip(wide.prompts.of(probe.examples), model.prompts.of(probe.examples), strict=True)
    responses = [each.tokens for each in probe.responses]
    rows = [as_compared(each) for each in side_by_side(wide, model, [*prompts], responses)]
    count = sum(map(len, responses))
    kl = sum(float(row.forward_kl.sum()) for row in rows) / count
    return max(kl, 0.0), 1 - sum(float(row.top1.sum()) for row in rows) / count
