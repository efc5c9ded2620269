"""Does a run fit into each of its processes? Told on a machine with one, without any weights.

Both models are built from their configurations on the meta device and sharded by what a run shards
them with, over processes that are not there; parameters, gradients and moments are read from the
shards. Activations are counted in a pass without numbers, and what is left (caches, logits) is the
arithmetic of :mod:`distillkit.preflight.memory`. It is no measurement: what allocators, streams and
libraries keep beside it is not in it.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from distillkit.core.spec import name_of
from distillkit.core.types import Author
from distillkit.distributed.imagined import Holding, holding_of, imagined
from distillkit.distributed.placement import Placement
from distillkit.models.activations import Kept, kept_for_backward
from distillkit.models.decoder import decodes
from distillkit.models.layers import layers_of
from distillkit.models.pretrained import Student, Teacher
from distillkit.models.sketch import Sketch
from distillkit.opinions.base import OnlyReads
from distillkit.preflight.memory import PASSING, TENSORS_BESIDE_WEIGHTS, cache_of, logit_bytes
from distillkit.preflight.phases import LEARNT, LOADING, TRAINING, DryRun, Phase, Row
from distillkit.run import TrainRun


@dataclass(frozen=True, slots=True)
class Side:
    """A model of the run, and what a process holds of it."""

    sketch: Sketch
    holding: Holding
    vocabulary: int
    """Rows of the head."""
    copied: int
    """Bytes that a decoder of ours lays out for writing, beside the weights."""
    narrow_head: int
    """Bytes of copies of the head that the loss makes."""
    read: int
    """Bytes that are read before they are dealt out; 0 where every process reads its part."""

    def cache(self, *, rows: int, length: int) -> int:
        """Bytes of keys, values and distributions while it writes so many texts."""
        wide = 2 if self.sketch.autocast else self.sketch.dtype.itemsize
        keys = cache_of(self.sketch.text, wide=wide, rows=rows, length=length)
        # Logits, probabilities and their sums, as in the check of writing.
        return keys + rows * self.vocabulary * 16


def dry_run(run: TrainRun, size: int, *, room: int) -> DryRun:
    """Lay out a run over so many processes, and see what the first one holds.

    Args:
        run: the spec tree; weights and examples are not read.
        size: number of processes.
        room: response tokens that every training prompt must leave room for.

    Raises:
        ConfigError: the placement is none for so many processes.
        ModelError: a model's configuration cannot be read.
    """
    run.placement.check(size)
    placement = run.placement.of(0, size)
    sources = [run.student, *([run.teacher] if isinstance(run.teacher, Teacher) else [])]
    sketches = [Sketch.of(source, precision=run.precision) for source in sources]
    with imagined(size) if placement.IN_STEP else nullcontext():
        sides = [_side(sketch, placement) for sketch in sketches]
    student, teacher = sides[0], sides[1] if sides[1:] else None
    batch = _micro_batch(run, sketches, size=size, room=room)
    kept = kept_for_backward(
        student.sketch,
        # Nothing follows the last token.
        length=batch[1] - 1,
        narrow=placement.IN_STEP and student.sketch.autocast,
        checkpointing=run.student.gradient_checkpointing,
    )
    phases = tuple(_phases(run, student, teacher))
    rows = [
        # The teacher is loaded first, and has been dealt out when the student comes.
        Row(
            "read whole", student.read, 0 if teacher is None else teacher.read, LOADING, None, True
        ),
        *_state(student, teacher),
        *_gathered(student, teacher),
        *_update(run, student, kept=kept, batch=batch),
        *_opinions(run, teacher, size=size, length=batch[1]),
        *_writing(run, student, teacher, size=size, length=batch[1]),
    ]
    told = [row for each in rows if (row := each.within(phases)) is not None]
    return DryRun(placement, told, phases, batch, [*_notes(run, kept, length=batch[1])])


def _side(sketch: Sketch, placement: Placement) -> Side:
    learns = isinstance(sketch.source, Student)
    placement = placement if learns else placement.of_teacher
    module = sketch.dealt_out(placement)
    head = module.get_output_embeddings().weight
    wide = 2 if sketch.autocast else sketch.dtype.itemsize
    layers = [each for layer in layers_of(module) for each in layer.parameters()]
    narrow = head.numel() * 2 if sketch.autocast else 0
    # The gradient of a head that is not fp32 is added up beside it.
    added = head.numel() * 4 if learns and sketch.dtype.itemsize < 4 else 0
    return Side(
        sketch,
        holding_of(module),
        vocabulary=len(head),
        copied=sum(each.numel() for each in layers) * wide if decodes(module) else 0,
        narrow_head=narrow + added,
        read=sum(each.numel() * each.element_size() for each in module.parameters())
        if sketch.read_whole(placement)
        else 0,
    )


def _micro_batch(
    run: TrainRun, sketches: Sequence[Sketch], *, size: int, room: int
) -> tuple[int, int]:
    """The largest that can be: nobody has looked at the examples."""
    longest = min(run.loop.micro_batch_tokens, *(sketch.context for sketch in sketches))
    limit = run.loop.max_prompt_tokens
    if limit is not None and Author.dataset not in run.policy.may_write():
        longest = min(*(sketch.context for sketch in sketches), limit + room)
    share = -(-run.loop.batch_size // size)
    return max(1, min(share, run.loop.micro_batch_tokens // longest)), longest


def _phases(run: TrainRun, student: Side, teacher: Side | None) -> Iterator[Phase]:
    authors, measured = run.policy.may_write(), run.evaluation.test != 0
    if student.read or (teacher is not None and teacher.read):
        yield Phase.load
    yield Phase.train
    if authors & {Author.student, Author.mixture} or run.evaluation.every or measured:
        yield Phase.student
    if teacher is not None and (Author.teacher in authors or measured):
        yield Phase.teacher


def _state(student: Side, teacher: Side | None) -> Iterator[Row]:
    learning = student.holding.learning
    yield Row("weights", student.holding.own, 0 if teacher is None else teacher.holding.own)
    yield Row("gradients", learning, when=LEARNT)
    yield Row("AdamW moments", (TENSORS_BESIDE_WEIGHTS - 1) * learning, when=LEARNT)


def _gathered(student: Side, teacher: Side | None) -> Iterator[Row]:
    """What is gathered of sharded models for an update; nothing where they are whole."""
    ours, theirs = student.holding, Holding(0) if teacher is None else teacher.holding
    yield Row("head, gathered", ours.kept, theirs.kept, TRAINING)
    yield Row("head's gradient", ours.kept, when=TRAINING)
    yield Row("two layers, gathered", ours.passing, theirs.passing, TRAINING, in_turn=True)
    yield Row("a layer's gradient", ours.summed, when=TRAINING)


def _update(
    run: TrainRun, student: Side, *, kept: Kept | None, batch: tuple[int, int]
) -> Iterator[Row]:
    rows, length = batch
    if kept is not None:
        yield Row("activations", int(PASSING * (kept.fixed + kept.row * rows)), when=TRAINING)
    logits = logit_bytes(run.objective, student.vocabulary, rows * length)
    yield Row("logits", logits + student.narrow_head, when=TRAINING)


def _opinions(run: TrainRun, teacher: Side | None, *, size: int, length: int) -> Iterator[Row]:
    """Of the teacher, kept until the rollouts that were written together are learnt from."""
    if teacher is not None and run.loop.span > 1:
        width = teacher.sketch.text.hidden_size * teacher.sketch.dtype.itemsize
        rows = -(-run.loop.batch_size * run.loop.collect // size)
        yield Row("kept opinions", 0, rows * length * width, TRAINING)


def _writing(
    run: TrainRun, student: Side, teacher: Side | None, *, size: int, length: int
) -> Iterator[Row]:
    """What whoever writes or is measured has of its own while it does."""
    theirs = Holding(0) if teacher is None else teacher.holding
    copied = 0 if teacher is None else teacher.copied
    ours, also = frozenset({Phase.student}), frozenset({Phase.teacher})
    if Author.mixture in run.policy.may_write():
        also |= ours
    yield Row("all layers, gathered", student.holding.gathered, theirs.gathered, ours, also)
    yield Row("decoder's copy", student.copied, copied, ours, also)
    mine, others = _texts(run, size)
    own = student.cache(rows=mine, length=length)
    cached = 0 if teacher is None else teacher.cache(rows=others, length=length)
    yield Row("caches", own, cached, ours, also)


def _texts(run: TrainRun, size: int) -> tuple[int, int]:
    """How many the student, and the teacher, write side by side."""
    authors, evaluation = run.policy.may_write(), run.evaluation
    written = -(-run.loop.prompts * run.loop.group // size)
    drawn = authors & {Author.student, Author.mixture}
    ours = min(run.rollout.batch_size, written) if drawn else 0
    test = _side_by_side(run, evaluation.test, size)
    validation = _side_by_side(run, evaluation.validation if evaluation.every else 0, size)
    lessons = run.teacher_rollout.batch_size if Author.teacher in authors else 0
    together = ours if Author.mixture in authors else 0
    return max(ours, test, validation), max(test, lessons, together)


def _side_by_side(run: TrainRun, examples: int | None, size: int) -> int:
    """How many of a process's share of some examples, of nobody knows how many if None."""
    limit = run.evaluation.batch_size
    return limit if examples is None else min(limit, -(-examples // size))


def _notes(run: TrainRun, kept: Kept | None, *, length: int) -> Iterator[str]:
    if kept is None:
        yield (
            "activations of this family cannot be counted without weights and are not in it; "
            "distillkit doctor measures them"
        )
    if Author.dataset in run.policy.may_write():
        yield f"references may be of any length, so each row is taken to have {length:,} tokens"
    elif run.loop.max_prompt_tokens is None:
        yield (
            f"prompts may be of any length, so each row is taken to have {length:,} tokens; "
            "loop.max_prompt_tokens bounds them"
        )
    if run.evaluation.test is None:
        yield "evaluation.test=null measures both models on all of the test split"
    if isinstance(run.teacher, Teacher) and run.teacher.draft is not None:
        yield f"teacher.draft={run.teacher.draft} is not counted"
    if isinstance(run.teacher, OnlyReads):
        yield f"what teacher={name_of(run.teacher)} holds in a process is not counted"
