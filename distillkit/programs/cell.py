"""A cell of a sweep as a process of its own, which saves when its sweep is asked to stop."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from distillkit.core.errors import Interrupted
from distillkit.core.stopping import STOPS, stopping

PR_SET_PDEATHSIG = 1


def train_apart(arguments: Sequence[str]) -> dict[str, str]:
    """Run ``distillkit train`` with these arguments; its status, and why it failed.

    A signal that asks this process to stop is passed on, and raised here once the cell is saved.
    """
    # Not from the folder where one stands: what lies there may be a stranger's.
    command = [sys.executable, "-P", "-m", "distillkit", "train", *arguments]
    begun: list[subprocess.Popen[str]] = []

    def tell() -> None:
        # Ctrl-C may have reached the cell too; SIGTERM is no second one, which would not save.
        for process in begun:
            process.terminate()

    with stopping(tell) as stop:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            preexec_fn=_stop_with_parent,
        )
        begun.append(process)
        if stop.signal is not None:
            process.terminate()
        _, said = process.communicate()
    if stop.signal is not None:
        # What a launcher does on this signal, such as to requeue, comes now.
        signal.raise_signal(stop.signal)
    code = process.returncode
    if code == 0:
        return {"status": "done"}
    if code - 128 in STOPS:
        return {"status": "failed", "error": "interrupted and saved"}
    if code < 0:
        return {"status": "failed", "error": f"killed by signal {-code}"}
    lines = said.strip().splitlines() or [f"exit code {code}"]
    return {"status": "failed", "error": lines[-1].removeprefix("distillkit: ")}


@contextmanager
def saving_cells() -> Iterator[None]:
    """Say of an interruption inside that cells were running, which are saved."""
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(
            "interrupted; the cell that ran is saved, and the same command goes on from there",
            signal=stop.signal,
        ) from None


def _stop_with_parent() -> None:
    # On Linux a cell is told to save and stop when its launcher dies; elsewhere it runs on.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
