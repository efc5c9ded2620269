"""Teacher text written once for all prompts and kept with its provenance (SeqKD).

The file is named by a hash of everything the text depends on, so runs and sweep cells share it,
and a change of teacher, prompts or sampling makes a new one. It is written in parts, so an
interrupted call goes on where it stopped. Every line has a digest of itself and the file's key.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from distillkit.core.errors import DataError, RunError
from distillkit.core.files import made_folder, write_json
from distillkit.core.journal import Journal
from distillkit.core.locking import one_at_a_time
from distillkit.core.reading import parse_json_lines, read_bytes
from distillkit.core.seeds import child_seed
from distillkit.core.types import Author, Example, Response
from distillkit.models.generation import Written, generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling

WAY_OUT = "Delete it to have it written anew."

LAYOUT = 2
"""Part of every key; raised whenever the meaning of what is kept changes."""


class Line(TypedDict):
    """A response as a line has it."""

    id: str
    tokens: list[int]
    truncated: bool
    digest: str


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
    say: Callable[[str], None] = lambda _: None,
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
        say: takes a line for the person who waits.

    Raises:
        DataError: what is kept is not what was written.
    """
    prompts = [teacher.prompts.prompt_ids(example) for example in examples]
    provenance = {"teacher": dict(identity), "sampling": asdict(sampling), "seed": seed}
    asked = json.dumps([LAYOUT, provenance, [e.id for e in examples], prompts], sort_keys=True)
    key = hashlib.sha256(asked.encode()).hexdigest()[:16]
    made_folder(folder, choose="output=...")
    file = folder / f"{key}.jsonl"
    with one_at_a_time(folder / f"{key}.lock", what="the same text", say=say):
        lines = _whole_parts(file, part=sampling.batch_size, count=len(examples))
        kept = _parse(lines, file, key=key, examples=examples)
        write_json(folder / f"{key}.json", {**provenance, "examples": len(examples)})
        journal = Journal(file, keep=sum(map(len, lines)))
        for start in range(len(kept), len(examples), sampling.batch_size):
            part = slice(start, start + sampling.batch_size)
            written = generate(
                teacher, prompts[part], sampling, seed=child_seed(seed, key, start), poll=poll
            )
            for example, text in zip(examples[part], written, strict=True):
                kept[example.id] = Response(text.tokens, text.truncated, Author.teacher)
                journal.write(_row(key, example, text))
            report(len(kept), len(examples))
        journal.close()
    return kept


def _row(key: str, example: Example, text: Written) -> dict[str, Any]:
    row = {"id": example.id, "tokens": text.tokens, "truncated": text.truncated}
    return {**row, "digest": _digest(key, row)}


def _whole_parts(file: Path, *, part: int, count: int) -> list[bytes]:
    """Lines of whole parts; a part that was cut short is written again, from its own seed."""
    if not file.exists():
        return []
    lines = read_bytes(file, way_out=WAY_OUT).split(b"\n")
    # The last one is empty, or torn.
    whole = [line + b"\n" for line in lines[:-1]]
    return whole if len(whole) >= count else whole[: len(whole) // part * part]


def _parse(
    lines: Sequence[bytes], file: Path, *, key: str, examples: Sequence[Example]
) -> dict[str, Response]:
    kept = {}
    try:
        rows = parse_json_lines(b"".join(lines), Line, file=file, way_out=WAY_OUT)
        if len(rows) > len(examples):
            raise ValueError(f"it has {len(rows)} lines for {len(examples)} prompts")
        for example, row in zip(examples, rows, strict=False):
            if row["id"] != example.id or row.pop("digest") != _digest(key, row):
                raise ValueError(f"the text of {example.id} is not what was written")
            kept[example.id] = Response(tuple(row["tokens"]), row["truncated"], Author.teacher)
    except (ValueError, RunError) as error:
        said = str(error).removesuffix(f" {WAY_OUT}").removesuffix(".")
        raise DataError(f"the kept teacher text {file} is damaged ({said}). {WAY_OUT}") from error
    return kept


def _digest(key: str, row: Mapping[str, Any]) -> str:
    """Of a line and of the file that it belongs to."""
    text = json.dumps([key, row["id"], row["tokens"], row["truncated"]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
