"""Generated commands, and what is wrong with how one ended."""

import random
from collections.abc import Iterator
from pathlib import Path

from .forks import Call, Ended
from .grammar import Grammar

KEYS = {
    "OPENAI_API_KEY": "sk-fuzz-5e1f0a7b9c2d",
    "WANDB_API_KEY": "c0ffee" * 6 + "beef",
    "HF_TOKEN": "hf_fuzzTokenOfNobody42",
}
"""Secrets of the environment, none of which may be seen anywhere."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "offline"}


def generated(count: int, *, seed: int, run: Path) -> Iterator[Call]:
    """Commands of every verb, most of them ``show``, which costs least.

    Args:
        count: how many.
        seed: of all draws.
        run: a finished run that eval and report may be given.
    """
    draw = random.Random(seed)
    grammar = Grammar(draw)
    makers = (
        (80, grammar.show),
        (6, lambda: grammar.work("train")),
        (2, lambda: grammar.work("estimate")),
        (1, lambda: grammar.work("doctor")),
        (3, lambda: grammar.measure(str(run))),
        (4, lambda: grammar.report(str(run))),
        (3, grammar.study),
        (1, grammar.sweep),
        (0.3, grammar.undo),
    )
    weights, drawers = zip(*makers, strict=True)
    for _ in range(count):
        (make,) = draw.choices(drawers, weights)
        # An argument cannot hold a null byte.
        yield Call(make(), environment={**KEYS, **OFFLINE})


def faults(ended: Ended) -> list[str]:
    """What is wrong with how a command ended, nothing where it ended as it should."""
    verb = ended.call.arguments[0]
    said = ended.out + ended.err
    allowed = {0, 2, *([1] if verb == "doctor" else []), *([143] if ended.late else [])}
    found = []
    if "Traceback (most recent" in said or "Exception ignored" in said:
        found.append("traceback")
    if ended.code not in allowed:
        found.append(f"exit code {ended.code}")
    if ended.late and verb in ("show", "report", "study"):
        found.append("hangs")
    if ended.code == 2 and not one_sentence(ended.err):
        found.append("not one sentence")
    if leaked := sorted(name for name, value in KEYS.items() if _leaks(value, ended)):
        found.append(f"shows {', '.join(leaked)}")
    if ended.code == 2 and ended.call.folder is None and (left := half_written(ended.folder)):
        found.append(f"leaves {left}")
    return found


def one_sentence(err: str) -> bool:
    """Whether an error is one line of ours."""
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    return len(lines) == 1 and lines[0].startswith("distillkit: ")


def half_written(folder: Path) -> list[str]:
    """Files that a refused command left, where it did not begin a run."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    partial = [path for path in files if path.name.endswith(".partial")]
    begun = any(path.name in ("provenance.json", "table.json") for path in files)
    return [str(path.relative_to(folder)) for path in (partial if begun else files)]


def _leaks(secret: str, ended: Ended) -> bool:
    if secret in ended.out + ended.err:
        return True
    if ended.call.folder is not None:
        return False
    return any(
        secret in str(path) or (path.is_file() and secret.encode() in path.read_bytes())
        for path in ended.folder.rglob("*")
    )
