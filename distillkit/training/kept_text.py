"""Teacher text written once for all prompts and kept with its provenance (SeqKD).

Its key is a hash of everything the text depends on, so runs and sweep cells share it, and a change
of teacher, prompts or sampling makes a new one. It is written in parts, each with a seed of its
own, so that an interrupted call goes on where it stopped.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path

from distillkit.core.files import made_folder
from distillkit.core.locking import one_at_a_time
from distillkit.core.seeds import child_seed
from distillkit.core.store import Store, key_of
from distillkit.core.types import Author, Example, Response
from distillkit.distributed.placement import ALONE, Placement
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
    placement: Placement = ALONE,
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
        placement: the processes that write it, a part each at a time; called by all.
    """
    prompts = teacher.prompts.of(examples)
    provenance = {"teacher": dict(identity), "sampling": asdict(sampling), "seed": seed}
    asked = json.dumps([LAYOUT, provenance, [e.id for e in examples], prompts], sort_keys=True)
    key = sha256(asked.encode()).hexdigest()[:16]
    size, store = sampling.batch_size, Store(folder / NAME)
    keys = {start: key_of("kept text", key, start) for start in range(0, len(examples), size)}

    def write(start: int) -> bytes:
        poll()
        part, part_seed = examples[start : start + size], child_seed(seed, key, start)
        written = writer.write(part, sampling, seed=part_seed, poll=poll)
        return json.dumps([[text.tokens, text.truncated] for text in written]).encode()

    with placement.led(lambda: _known(store, key, keys, say)) as known:
        lacking = [start for start, part_key in keys.items() if part_key not in known]
        for place in range(0, len(lacking), placement.size):
            turn = lacking[place : place + placement.size]
            written = placement.together(partial(_each, write, placement.mine(turn)))
            made = dict(zip((keys[each] for each in turn), placement.gather(written), strict=True))
            placement.told(partial(store.put, made))
            known |= made
            say(f"teacher wrote {min(len(examples), turn[-1] + size)} of {len(examples)}")
    return _responses(examples, [known[part_key] for part_key in keys.values()])


def _responses(examples: Sequence[Example], parts: Sequence[bytes]) -> dict[str, Response]:
    texts = [text for part in parts for text in json.loads(part)]
    return {
        example.id: Response(tuple(tokens), truncated, Author.teacher)
        for example, (tokens, truncated) in zip(examples, texts, strict=True)
    }


def _each(write: Callable[[int], bytes], starts: Sequence[int]) -> list[bytes]:
    return [write(start) for start in starts]


@contextmanager
def _known(
    store: Store, key: str, keys: Mapping[int, str], say: Callable[[str], None]
) -> Iterator[dict[str, bytes]]:
    """What is there of it already; nobody else writes it inside."""
    folder = made_folder(store.path.parent, choose="output=...")
    with one_at_a_time(folder / f"{key}.lock", what="the same text", say=say):
        known = store.get(keys.values())
        store.tell("texts of the teacher", keys.values(), say)
        yield known
