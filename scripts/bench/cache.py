"""How fast a cache is written and read, and how fast it trains: ``python -m scripts.bench.cache``.

The format is measured with synthetic opinions, so that no model counts; then three shuffled epochs
of the benchmark's pair, with the live teacher and from its cache, through the command line.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from rich.console import Console

from distillkit.core.provenance import processor
from distillkit.core.rundir import RunDirectory
from distillkit.core.types import Author, Example, Message, Response, Rollout
from distillkit.opinions.cache_layout import HEAD, INDEX, CacheManifest, ids_type, row_key
from distillkit.opinions.cache_rows import Rows, check_files
from distillkit.opinions.cache_writer import CacheWriter, Written
from scripts.bench.pair import Shape, models_of

POSITIONS, LENGTH, K = 500_000, 250, 64
READ = 1000
"""Rows read at random."""
SETTINGS = {
    "49,152 ids, float32": (49_152, torch.float32),
    "151,936 ids, float16": (151_936, torch.float16),
}


EXAMPLES = 256
SUPPORT = ("support=teacher_top_k", f"support.k={K}")
THREE_EPOCHS = (
    *("policy=off_policy", "loop.batch_size=32", f"steps={3 * EXAMPLES // 32}", "tracker=none"),
    *("evaluation.every=0", "evaluation.test=0", "checkpoint.every=1000"),
)


def synthetic(vocabulary: int, kept: torch.dtype) -> list[Written]:
    """Rows of random opinions."""
    ids, rows = ids_type(vocabulary), []
    draw = torch.Generator().manual_seed(0)
    for number in range(POSITIONS // LENGTH):
        example = Example(
            id=f"row-{number}", prompt=(Message("user", f"{number}?"),), reference="x"
        )
        tokens = torch.randint(vocabulary, (LENGTH,), generator=draw)
        response = Response(tuple(tokens.tolist()), truncated=False, author=Author.dataset)
        columns = {
            "tokens": tokens.to(ids),
            "ids": torch.randint(vocabulary, (LENGTH, K), generator=draw).to(ids),
            "log_probs": torch.randn(LENGTH, K, generator=draw).to(kept),
            "rest": torch.randn(LENGTH, generator=draw),
            "drawn": torch.randn(LENGTH, generator=draw),
        }
        rows.append(Written(Rollout(example, response), 20, columns))
    return rows


def measure(rows: list[Written], folder: Path) -> dict[str, float]:
    """Positions written a second, bytes of each, and milliseconds for a row at random."""
    directory = RunDirectory(folder, shape=CacheManifest)
    with directory.claim(fingerprint="0" * 16, config="{}", overrides=[], provenance={}):
        begun = time.perf_counter()
        writer = CacheWriter(directory, shard_mb=256, own=False)
        for row in rows:
            writer.add(row)
        writer.seal()
        seconds = time.perf_counter() - begun
        directory.finish(
            {"fingerprint": "0" * 16, "name": "bench", "head": None},
            leaves=(*writer.files, INDEX, HEAD),
        )
        with_digests = time.perf_counter() - begun
    manifest = json.loads((folder / "summary.json").read_text())
    begun = time.perf_counter()
    check_files(folder, manifest)
    found = Rows(folder)
    checked = time.perf_counter() - begun
    chosen = random.Random(0).choices(rows, k=READ)
    begun = time.perf_counter()
    for row in chosen:
        key = row_key(row.rollout.example, row.rollout.response.tokens)
        place = found.entry(key)
        assert place is not None
        assert torch.equal(found.columns(place)["ids"], row.columns["ids"])
    milliseconds = (time.perf_counter() - begun) / READ * 1e3
    return {
        "million positions a second": POSITIONS / seconds / 1e6,
        "the same with all digests": POSITIONS / with_digests / 1e6,
        "bytes a position": writer.bytes / POSITIONS,
        "s to check all": checked,
        "ms a random row": milliseconds,
    }


def command(*typed: str, folder: Path) -> float:
    """Seconds of a call of the command line."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "distillkit", *typed, f"output={folder}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begun


def epochs(folder: Path, *, rounds: int) -> list[dict[str, float]]:
    """Seconds of three epochs' updates with the live teacher and from the cache, in turns."""
    student, teacher = models_of(Shape())
    ids = ("student=hf", f"student.name={student}", f"dataset.train={EXAMPLES}", *SUPPORT)
    live = ("teacher=hf", f"teacher.name={teacher}")
    made = command("cache", *ids, *live, "name=kept", folder=folder)
    cached = ("teacher=cached", f"teacher.path={folder / 'cache' / 'kept'}")
    found = []
    for number in range(rounds):
        seconds = {"making, s": made}
        for name, typed in (("live, s", live), ("cached, s", cached)):
            run = f"{name.partition(',')[0]}-{number}"
            command("train", *ids, *typed, *THREE_EPOCHS, f"name={run}", folder=folder)
            summary = json.loads((folder / "train" / run / "summary.json").read_text())
            seconds[name] = summary["training_seconds"]
        found.append({**seconds, "ratio": seconds["live, s"] / seconds["cached, s"]})
    return found


def main(rounds: Annotated[int, typer.Option(help="Turns of the trainings.")] = 3) -> None:
    """Print all of it."""
    console = Console()
    console.print(f"{POSITIONS:,} positions, top {K}, rows of {LENGTH}; {processor()}")
    for name, setting in SETTINGS.items():
        rows = synthetic(*setting)
        with TemporaryDirectory() as place:
            found = measure(rows, Path(place) / "cache")
        told = ", ".join(f"{what} {value:.3g}" for what, value in found.items())
        console.print(f"{name}: {told}", soft_wrap=True)
    with TemporaryDirectory() as place:
        for found in epochs(Path(place), rounds=rounds):
            told = ", ".join(f"{what} {value:.3g}" for what, value in found.items())
            console.print(f"three epochs of {EXAMPLES} examples: {told}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
