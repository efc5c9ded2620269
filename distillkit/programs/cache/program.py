"""``distillkit cache``: have a teacher read all there is to learn from, and keep what it says."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.provenance import provenance
from distillkit.core.rundir import RunDirectory
from distillkit.core.spec import name_of
from distillkit.core.stopping import Stop, stopping
from distillkit.core.store import key_of
from distillkit.core.terminal import terminal
from distillkit.core.types import Author, Rollout
from distillkit.opinions.cache_fit import ids_of, keep_head
from distillkit.opinions.cache_layout import HEAD, INDEX, LAYOUT, CacheManifest, told_support
from distillkit.opinions.cache_writer import CacheWriter, Columns, Written
from distillkit.programs.cache.fields import check_cache
from distillkit.programs.cache.reading import Reading
from distillkit.programs.cache.table import tell_cache
from distillkit.programs.cache.texts import Subject, texts_of
from distillkit.programs.watch import Watch
from distillkit.run import CacheRun
from distillkit.training.dealing import split_rows

BLOCK = 256
"""Texts among which those of like length are read side by side; the rows stay in their order."""


def make_cache(composed: Composed, *, console: Console | None = None) -> RunDirectory:
    """Make a cache, go on with one that was interrupted, or show what is there.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; what was read is kept.
    """
    console, run = console or terminal(), composed.run
    check_cache(run)
    name = run.name or f"{name_of(run.teacher)}-{name_of(run.support)}-{composed.fingerprint[:8]}"
    directory = RunDirectory(Path(run.output) / "cache" / name, shape=CacheManifest)
    if directory.summary is not None:
        directory.check(composed.fingerprint)
        console.print(f"already made: {directory.path}", soft_wrap=True)
        tell_cache(directory.path, console)
        return directory
    subject = Subject.of(run)
    record = {**provenance(), "device": str(subject.student.device), "seed": run.seed}
    with (
        stopping() as stop,
        directory.claim(**composed.asked(), provenance=record) as notes,
    ):
        watch = Watch(console, log=directory.path / "log.txt")
        for note in (*subject.notes, *notes):
            watch.say(f"note: {note}")
        watch.say(f"cache {directory.path}")
        subject.reader.attend(poll=stop.poll, say=watch.say)
        _make(composed, subject, directory, stop=stop, watch=watch)
    tell_cache(directory.path, console)
    return directory


def _make(
    composed: Composed, subject: Subject, directory: RunDirectory, *, stop: Stop, watch: Watch
) -> None:
    run: CacheRun = composed.run
    begun = time.monotonic()
    rollouts = texts_of(run, subject, poll=stop.poll, say=watch.say)
    own = Author.teacher in run.policy.may_write()
    writer = CacheWriter(directory, shard_mb=run.shard_mb, own=own)
    there = sum(map(writer.holds, rollouts))
    if there:
        watch.say(f"{there} of {len(rollouts)} texts are there already")
    positions = sum(len(each.response.tokens) for each in rollouts)
    try:
        with watch.running():
            for done, row in enumerate(_rows(run, subject, rollouts, writer, stop), there + 1):
                writer.add(row)
                watch.progress("texts", done, len(rollouts))
    finally:
        # What was read is paid for, whatever ends this.
        writer.seal()
    seconds = time.monotonic() - begun
    head = None
    if run.support.dense:
        assert subject.teacher is not None
        head = keep_head(subject.teacher.head, directory.path)
    manifest = {
        "name": directory.path.name,
        "fingerprint": composed.fingerprint,
        "layout": LAYOUT,
        **subject.provenance(run),
        "support": told_support(run.support),
        "kept": str(run.kept),
        "temperature": 1.0,
        "seed": run.seed,
        **ids_of(subject.student),
        "context": subject.reader.context,
        "dataset": {"name": name_of(run.dataset), "digest": _digest(rollouts)},
        "author": str(Author.teacher if own else Author.dataset),
        "sampling": asdict(run.teacher_rollout) if own else None,
        "head": head,
        "rows": len(rollouts),
        "positions": positions,
        "bytes": writer.bytes,
        "costs": asdict(subject.reader.costs),
        "seconds": round(seconds, 1),
    }
    directory.finish(manifest, leaves=(*writer.files, INDEX, HEAD))


def _rows(
    run: CacheRun, subject: Subject, rollouts: Sequence[Rollout], writer: CacheWriter, stop: Stop
) -> Iterator[Written]:
    """What the teacher says of each text that is not there, in their order.

    Those that are there are still counted where texts are put side by side, so that a cache that
    was interrupted holds the same numbers as one that was not.
    """
    reading, reader = Reading.of(run, subject), subject.reader
    for start in range(0, len(rollouts), BLOCK):
        block = rollouts[start : start + BLOCK]
        lacking = {row for row, each in enumerate(block) if not writer.holds(each)}
        prompts = [reader.prompt_length(each.example) for each in block]
        widths = [
            prompt + len(each.response.tokens) for prompt, each in zip(prompts, block, strict=True)
        ]
        groups = split_rows(widths, run.micro_batch_tokens, spare=max(widths))
        groups = [rows for rows in groups if lacking.intersection(rows)]
        reader.expect([block[row] for rows in groups for row in rows])
        found: dict[int, Columns] = {}
        for rows in groups:
            stop.poll()
            found |= dict(zip(rows, reading.of_rows([block[row] for row in rows]), strict=True))
        for row in sorted(lacking):
            if not writer.holds(block[row]):
                yield Written(block[row], prompts[row], found[row])


def _digest(rollouts: Sequence[Rollout]) -> str:
    """Of what was asked and answered."""
    told: list[Any] = [
        [each.example.id, each.example.opening, [turn.content for turn in each.example.prompt]]
        for each in rollouts
    ]
    return key_of("texts", told, [each.response.tokens for each in rollouts])[:16]
