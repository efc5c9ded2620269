"""Teacher text written once for all prompts and kept with its provenance (SeqKD).

The file is named by a hash of everything the text depends on, so runs and sweep cells share it,
and a change of teacher, prompts or sampling makes a new one. It is written in parts, so an
interrupted call goes on where it stopped.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from distillkit.core.errors import DataError
from distillkit.core.files import write_json
from distillkit.core.journal import Journal
from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example, Response
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling


def kept_text(
    folder: Path,
    examples: Sequence[Example],
    *,
    teacher: LanguageModel,
    identity: Mapping[str, str | None],
    sampling: Sampling,
    seed: int,
    poll: Callable[[], None],
    report: Callable[[int, int], None],
) -> dict[str, Response]:
    """The teacher's response to every example, by id, read from ``folder`` or written there.

    Args:
        folder: shared by all runs.
        examples: what to answer.
        teacher: who answers.
        identity: what tells this teacher's weights from others (name, revision, digest).
        sampling: how it writes.
        seed: of the text; part of the key.
        poll: called between parts; may raise to stop.
        report: called with (done, all) after each part.
    """
    prompts = [teacher.prompts.prompt_ids(example) for example in examples]
    provenance = {"teacher": dict(identity), "sampling": asdict(sampling), "seed": seed}
    asked = json.dumps([provenance, [e.id for e in examples], prompts], sort_keys=True)
    key = hashlib.sha256(asked.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{key}.jsonl"
    with (folder / f"{key}.lock").open("a") as lock:
        # A second cell of a sweep waits here for the first one's text.
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = _whole_parts(file, part=sampling.batch_size, count=len(examples))
        kept = _parse(lines, file)
        write_json(folder / f"{key}.json", {**provenance, "examples": len(examples)})
        journal = Journal(file, keep=sum(map(len, lines)))
        for start in range(len(kept), len(examples), sampling.batch_size):
            part = slice(start, start + sampling.batch_size)
            written = generate(
                teacher, prompts[part], sampling, seed=child_seed(seed, key, start), poll=poll
            )
            for example, text in zip(examples[part], written, strict=True):
                kept[example.id] = Response(text.tokens, text.truncated, Author.teacher)
                journal.write(
                    {"id": example.id, "tokens": text.tokens, "truncated": text.truncated}
                )
            report(len(kept), len(examples))
        journal.close()
    return kept


def _whole_parts(file: Path, *, part: int, count: int) -> list[bytes]:
    """Lines of whole parts; a part that was cut short is written again, from its own seed."""
    lines = file.read_bytes().splitlines(keepends=True) if file.is_file() else []
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    return lines if len(lines) >= count else lines[: len(lines) // part * part]


def _parse(lines: Sequence[bytes], file: Path) -> dict[str, Response]:
    kept = {}
    try:
        for line in lines:
            row = json.loads(line)
            kept[row["id"]] = Response(tuple(row["tokens"]), row["truncated"], Author.teacher)
    except (ValueError, KeyError) as error:
        raise DataError(
            f"the kept teacher text {file} is damaged ({error}). Delete it to have it written anew."
        ) from error
    return kept
