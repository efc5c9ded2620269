"""Trainings of a study in few processes, one after another: what it takes to start is paid once.

A process that loads torch and transformers for each of a hundred trainings of seconds does little
else. ``python -m distillkit.programs.study.together`` reads its share from standard input.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import compose
from distillkit.core.errors import DistillkitError, Interrupted
from distillkit.core.stopping import stoppable, stopping
from distillkit.core.streams import lasting
from distillkit.programs.cell import Bench, stop_with_parent

Work = Mapping[str, list[str]]
"""Overrides of ``train``, and those of ``eval``."""


SHARE = 12
"""Trainings of a process: start-up is a small part of so many, and memory has not grown far."""


def run_shares(work: Sequence[Work], bench: Bench, *, processes: int) -> None:
    """Have so many processes of this machine do the work; what fails is left undone.

    Args:
        work: overrides of ``train``, and those of ``eval``, empty where nothing is evaluated.
        bench: what all have in common.
        processes: side by side.

    Raises:
        Interrupted: a stop was asked for; the trainings that ran are saved.
    """
    for start in range(0, len(work), SHARE * processes):
        part = work[start : start + SHARE * processes]
        shares = [part[number::processes] for number in range(min(processes, len(part)))]
        _run_side_by_side(shares, bench)


def _run_side_by_side(shares: Sequence[Sequence[Work]], bench: Bench) -> None:
    begun: list[subprocess.Popen[str]] = []

    def tell() -> None:
        for process in begun:
            process.terminate()

    with stopping(tell) as stop:
        begun.extend(_begun(share, bench) for share in shares)
        if stop.signal is not None:
            tell()
        for process in begun:
            process.wait()
    if stop.signal is not None:
        raise Interrupted(
            "interrupted; the trainings that ran are saved, and the same command goes on",
            signal=stop.signal,
        )


def _begun(work: Sequence[Work], bench: Bench) -> subprocess.Popen[str]:
    told = {"OMP_NUM_THREADS": str(bench.threads)} if bench.threads else {}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        encoding="utf-8",
        env={**told, **os.environ},
        preexec_fn=stop_with_parent,
    )
    place = None if bench.config_dir is None else str(bench.config_dir)
    assert process.stdin is not None
    with process.stdin as share:
        json.dump({"work": work, "config_dir": place, "plugins": list(bench.plugins)}, share)
    return process


def do_share(share: Mapping[str, Any], console: Console) -> None:
    """Train and evaluate; who fails is told of, and the others go on.

    Args:
        share: what :func:`run_shares` writes.
        console: of the programs.
    """
    from distillkit.programs.evaluate.program import evaluate
    from distillkit.programs.train.control import train_with_control

    place = share["config_dir"] and Path(share["config_dir"])
    shared: dict[str, Any] = {"config_dir": place, "plugins": share["plugins"]}
    for each in share["work"]:
        name = next(word for word in reversed(each["train"]) if word.startswith("name="))
        try:
            train_with_control(compose("train", each["train"], **shared), console=console)
            if each["eval"]:
                evaluate(compose("eval", each["eval"], **shared), console=console)
            print(f"done  {name.removeprefix('name=')}", flush=True)
        except DistillkitError as error:
            print(f"failed  {name.removeprefix('name=')}  {error}", flush=True)


def main() -> None:
    """Do the share that standard input holds."""
    share = json.load(sys.stdin)
    with lasting(), stoppable(), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        try:
            do_share(share, Console(file=nowhere))
        except Interrupted as stop:
            raise SystemExit(128 + stop.signal) from None


if __name__ == "__main__":
    main()
