"""Kills undo-iterate with SIGKILL at random times, runs it again each time, and compares.

python scripts/prove_undo.py --kills 5 -- debug=smoke evaluation.every=0 steps=40 iterations=2
"""

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

KEPT = ("lessons-*.jsonl", "errors-*.jsonl", "verdicts.jsonl", "learnability-*.json")
"""Files that must be equal to the byte, beside the weights of every student."""


def main(
    overrides: Annotated[list[str], typer.Argument(help="Overrides of the run.")],
    kills: int = 5,
    seed: int = 0,
) -> None:
    """Compare a run killed ``kills`` times with one that was left alone."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        began = time.monotonic()
        assert _start(whole, overrides).wait() == 0
        took = time.monotonic() - began
        print(f"left alone: {took:.0f} s", flush=True)
        # A killed process has done about so much by itself, on average, when the next one begins.
        for _ in range(kills):
            process, seconds = _start(killed, overrides), draw.uniform(3, 2 * took / kills)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                print(f"killed after {seconds:.1f} s: {_last_line(killed)}", flush=True)
        assert _start(killed, overrides).wait() == 0
        found = [_contents(output / "undo/run") for output in (whole, killed)]
        for name in sorted(found[0].keys() | found[1].keys()):
            equal = found[0].get(name) == found[1].get(name)
            print(f"{name}: {'equal' if equal else 'DIFFERENT'}")
        print(f"replies kept: {_replies(whole)} and {_replies(killed)}")
    sys.exit(found[0] != found[1])


def _start(output: Path, overrides: list[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "distillkit", "undo-iterate", *overrides]
    places = [f"output={output}", "name=run", "tracker=none"]
    return subprocess.Popen([*command, *places], stdout=subprocess.DEVNULL)


def _last_line(output: Path) -> str:
    log = output / "undo/run/log.txt"
    return log.read_text().splitlines()[-1] if log.is_file() else "before it began"


def _contents(run: Path) -> dict[str, Any]:
    files = [file for pattern in KEPT for file in run.glob(pattern)]
    files += run.glob("train/*/student/model.safetensors")
    found: dict[str, Any] = {str(file.relative_to(run)): file.read_bytes() for file in files}
    # Times differ, and so does the output folder in paths.
    text = (run / "summary.json").read_text().replace(str(run), "")
    summary = json.loads(text)
    del summary["cost"]["training_seconds"], summary["fingerprint"], summary["seal"]
    return {**found, "summary.json": summary}


def _replies(output: Path) -> int:
    with closing(sqlite3.connect(output / "replies.sqlite")) as connection:
        return int(connection.execute("SELECT count(*) FROM kept").fetchone()[0])


if __name__ == "__main__":
    typer.run(main)
