"""Trainings of a study in few processes, one after another: what it takes to start is paid once.

A process that loads torch and transformers for each of a hundred trainings of seconds does little
else. ``python -m distillkit.programs.study.together`` reads one training a line, and answers each
by a line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypedDict

from rich.console import Console

from distillkit.compose import compose
from distillkit.core.errors import DistillkitError, Interrupted
from distillkit.core.memory import give_freed_pages_back
from distillkit.core.stopping import stoppable, stopping
from distillkit.core.streams import lasting
from distillkit.core.terminal import terminal
from distillkit.programs.cell import Bench, stop_with_parent
from distillkit.programs.tasks import Task

SHARE = 12
"""Trainings of a process: starting is a small part of so many, and memory has not grown far."""

DIED = "its process died; the log in its run directory may say why"


class Work(TypedDict):
    """One training, by what is typed."""

    name: str
    train: list[str]
    eval: list[str]
    """Empty for no evaluation."""


class Answer(TypedDict):
    """What became of it."""

    name: str
    error: str
    """Empty where all went well."""
    score: str
    """The student's, in a few words; may be empty."""


def told(answer: Answer) -> str:
    """An answer as a line."""
    score = f"  {answer['score']}" if answer["score"] else ""
    return f"{'failed' if answer['error'] else 'done'}  {answer['name']}{score}"


def run_together(
    work: Sequence[Work], bench: Bench, *, processes: int, heard: Callable[[Answer], None]
) -> None:
    """Have so many processes of this machine do the work; what fails is left undone.

    Args:
        work: done in this order, each by the first process that is free.
        bench: what all have in common.
        processes: side by side.
        heard: called with each answer, by one thread at a time.

    Raises:
        Interrupted: a stop was asked for; the trainings that ran are saved.
    """
    waiting: SimpleQueue[Work] = SimpleQueue()
    for each in work:
        waiting.put(each)
    begun: list[subprocess.Popen[str]] = []
    lock = Lock()

    def tell() -> None:
        for process in begun:
            process.terminate()

    with stopping(tell) as stop:

        def work_through() -> None:
            fed = SHARE
            while fed == SHARE and not waiting.empty() and stop.signal is None:
                begun.append(process := _begin(bench))
                if stop.signal is not None:
                    process.terminate()
                fed = _feed(process, waiting, lock, heard)
                process.wait()

        side_by_side = [Thread(target=work_through) for _ in range(min(processes, len(work)))]
        for thread in side_by_side:
            thread.start()
        for thread in side_by_side:
            thread.join()
    if stop.signal is not None:
        raise Interrupted(
            "interrupted; the trainings that ran are saved, and the same command goes on",
            signal=stop.signal,
        )


def _begin(bench: Bench) -> subprocess.Popen[str]:
    told = {"OMP_NUM_THREADS": str(bench.threads)} if bench.threads else {}
    place = "" if bench.config_dir is None else str(bench.config_dir)
    return subprocess.Popen(
        # Not from the folder where one stands: what lies there may be a stranger's.
        [sys.executable, "-P", "-m", __name__, place, *bench.plugins],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**told, **Task().environment},
        preexec_fn=stop_with_parent,
    )


def _feed(
    process: subprocess.Popen[str],
    waiting: "SimpleQueue[Work]",
    lock: Lock,
    heard: Callable[[Answer], None],
) -> int:
    """Give a process one training after another; how many it answered.

    Fewer than its share are the last there were, or it has died.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    answered = 0
    try:
        with process.stdin as asked:
            while answered < SHARE:
                asked.write(json.dumps(waiting.get_nowait()) + "\n")
                asked.flush()
                if not (answer := process.stdout.readline()):
                    break
                with lock:
                    heard(json.loads(answer))
                answered += 1
    except (Empty, OSError):
        # None waits, or it has died in between; its training is then left undone.
        pass
    return answered


def done(each: Work, console: Console, **shared: Any) -> Answer:
    """Train and evaluate.

    Args:
        each: the training.
        console: of the programs.
        shared: config_dir and plugins.
    """
    from distillkit.programs.evaluate.program import evaluate
    from distillkit.programs.train.control import train_with_control

    try:
        run = train_with_control(compose("train", each["train"], **shared), console=console)
        if each["eval"]:
            give_freed_pages_back()
            evaluate(compose("eval", each["eval"], **shared), console=console)
    except DistillkitError as error:
        return Answer(name=each["name"], error=str(error), score="")
    after = (run.summary or {}).get("student_after") or {}
    score = f"accuracy {after['accuracy']:.1%}" if "accuracy" in after else ""
    return Answer(name=each["name"], error="", score=score)


def main() -> None:
    """Do what comes on standard input."""
    place, *plugins = sys.argv[1:]
    shared: dict[str, Any] = {"config_dir": Path(place) if place else None, "plugins": plugins}
    with lasting(), stoppable(), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        # Whatever else prints has no part in the answers.
        answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(nowhere.fileno(), 1)
        try:
            for line in sys.stdin:
                answer = done(json.loads(line), terminal(), **shared)
                print(json.dumps(answer), file=answers, flush=True)
                give_freed_pages_back()
        except Interrupted as stop:
            raise SystemExit(128 + stop.signal) from None


if __name__ == "__main__":
    main()
