"""Teacher text written once for all prompts and kept with its provenance (SeqKD).

Its key is a hash of everything the text depends on, so runs and sweep cells share it, and a change
of teacher, prompts or sampling makes a new one. It is written in parts, each with a seed of its
own, so that an interrupted call goes on where it stopped.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from distillkit.core.files import made_folder
from distillkit.core.locking import one_at_a_time
from distillkit.core.seeds import child_seed
from distillkit.core.store import Store, key_of
from distillkit.core.types import Author, Example, Response
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.writers.base import Writer

LAYOUT = 2
"""Part of every key; raised whenever the meaning of what is kept changes."""

NAME = "texts.sqlite"


def kept_text(
    folder: Path,
    examples: Sequence[Example],
    *,
    teacher: LanguageModel,
    writer: Writer,
    identity: Mapping[str, str | None],
    sampling: Sampling,
    seed: int,
    poll: Callable[[], None],
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Response]:
    """The teacher's response to every example, by id, read from a store or written there.

    Args:
        folder: of the store, shared by all runs.
        examples: what to answer.
        teacher: whose prompts the writer renders.
        writer: answers for it.
        identity: what tells this teacher's weights from others (name, revision, digest).
        sampling: how it writes.
        seed: of the text; part of the key.
        poll: called between parts; may raise to stop.
        say: takes a line for the person who waits.
    """
    prompts = teacher.prompts.of(examples)
    provenance = {"teacher": dict(identity), "sampling": asdict(sampling), "seed": seed}
    asked = json.dumps([LAYOUT, provenance, [e.id for e in examples], prompts], sort_keys=True)
    key = sha256(asked.encode()).hexdigest()[:16]
    starts = range(0, len(examples), sampling.batch_size)
    keys = {start: key_of("kept text", key, start) for start in starts}
    made_folder(folder, choose="output=...")
    kept: dict[str, Response] = {}
    with one_at_a_time(folder / f"{key}.lock", what="the same text", say=say):
        store = Store(folder / NAME)
        known = store.get(keys.values())
        store.tell("texts of the teacher", keys.values(), say)
        for start, part_key in keys.items():
            part = examples[start : start + sampling.batch_size]
            if (value := known.get(part_key)) is None:
                poll()
                part_seed = child_seed(seed, key, start)
                written = writer.write(part, sampling, seed=part_seed, poll=poll)
                value = json.dumps([[text.tokens, text.truncated] for text in written]).encode()
                store.put({part_key: value})
                say(f"teacher wrote {start + len(part)} of {len(examples)}")
            for example, (tokens, truncated) in zip(part, json.loads(value), strict=True):
                kept[example.id] = Response(tuple(tokens), truncated, Author.teacher)
    return kept
