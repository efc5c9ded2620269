"""A process that has imported all of distillkit, and forks itself for each call of a module.

It imports and runs nothing: no thread is started and no random number drawn before a fork. What is
forked has a working directory, an environment, streams and a session of its own, and leaves through
the interpreter's own end, as if it had been started with ``python -m``.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
from pathlib import Path
from select import select
from typing import Any

FOUNDERS = ("distillkit.programs", "distillkit.models", "distillkit.training")
LATE = (
    "transformers.models.llama.modeling_llama",
    "matplotlib.backends.backend_agg",
    "sacrebleu.metrics",
)
"""Modules that a training imports only once it runs."""


def import_all() -> None:
    """Import what calls will need; this must leave one thread."""
    for name in FOUNDERS:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    # Arrow's allocator has a thread that knows of forks.
    assert len([name for name in names if not name.startswith("jemalloc")]) <= 1
    gc.collect()
    gc.freeze()


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Answer calls until whoever started this process is gone.

    Returns:
        In every forked process its call, in this one None.
    """
    while True:
        ready, _, _ = select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return None
        connection, _ = listener.accept()
        call, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if os.fork() == 0:
            listener.close()
            return _watched(connection, json.loads(call), streams)
        connection.close()
        for stream in streams:
            os.close(stream)
        _reap()


def _watched(connection: socket.socket, call: dict[str, Any], streams: list[int]) -> dict[str, Any]:
    """Fork once more: the elder reports the younger's id and end, the younger becomes the call."""
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(call, streams)
        return call
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(call: dict[str, Any], streams: list[int]) -> None:
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.path[0] = call["folder"]
    sys.argv = [call["module"], *call["arguments"]]


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


if __name__ == "__main__":
    import_all()
    if call := serve(socket.socket(fileno=int(sys.argv[1]))):
        runpy.run_module(call["module"], run_name="__main__", alter_sys=True)
