"""A contender in a process of its own, so that none changes another's allocator, threads or caches.

distillkit keeps freed memory and Liger compiles; in one process both would speed up the others. A
tiny run goes first, so that imports and thread pools count neither as time nor as memory. What all
need is imported once, by a process that runs nothing and from which each is forked.
"""

import importlib
import multiprocessing
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import torch

from scripts.bench.measure import THREADS, peak_above

SHARED = ["scripts.bench.peers", "transformers.models.qwen2.modeling_qwen2"]
"""Modules that nearly every contender loads, ours among them."""


class ContenderError(Exception):
    """A contender that is absent or broke; the message says why."""


class Worker:
    """Runs one contender elsewhere; each call is one run and says its seconds.

    Args:
        module: a benchmark of this package with ``built``, ``TINY`` and ``MEMORY_RUNS``.
        name: which of its contenders.
        shape: the problem.

    Raises:
        ContenderError: it cannot be built.
    """

    def __init__(self, module: str, name: str, shape: Any) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(SHARED)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, module, name, shape), daemon=True
        )
        self._process.start()
        self._answer()

    def __call__(self) -> float:
        self._pipe.send("run")
        return self._answer()

    def memory(self) -> int:
        """Peak of resident bytes over that before, in its first runs; they warm it up as well."""
        self._pipe.send("memory")
        return self._answer()

    def facts(self) -> dict[str, Any]:
        """What it did so far, such as the tokens it trained on."""
        self._pipe.send("facts")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()

    def _answer(self) -> Any:
        kind, content = self._pipe.recv()
        if kind == "error":
            raise ContenderError(content)
        return content


def _serve(pipe: Connection, module: str, name: str, shape: Any) -> None:
    torch.set_num_threads(THREADS)
    try:
        benchmark = importlib.import_module(f"scripts.bench.{module}")
        with benchmark.built(name, benchmark.TINY) as run:
            run()
        with benchmark.built(name, shape) as run:
            pipe.send(("built", None))
            if hasattr(run, "in_main_thread"):
                turns = Thread(target=_take_turns, args=(pipe, run, benchmark), daemon=True)
                turns.start()
                run.in_main_thread()
            else:
                _take_turns(pipe, run, benchmark)
    except Exception as error:  # a peer may be absent, or need what is not here
        pipe.send(("error", _reason(error)))


def _take_turns(pipe: Connection, run: Any, benchmark: Any) -> None:
    answers = {
        "run": run,
        "memory": lambda: _memory(run, benchmark.MEMORY_RUNS),
        "facts": lambda: {key: getattr(run, key, None) for key in ("tokens", "attention")},
    }
    while True:
        asked = pipe.recv()
        try:
            pipe.send(("done", answers[asked]()))
        except Exception as error:
            pipe.send(("error", _reason(error)))


def _memory(run: Any, times: int) -> int:
    found: list[int] = []
    with peak_above(found):
        for _ in range(times):
            run()
    return found[0]


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"not installed ({error.name}); make bench installs it"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"cannot run here ({type(error).__name__}: {first[:150]})"
