"""Commands in forks of this process, which has imported everything once."""

import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import constants

# What every verb imports, so that a fork finds it done.
import distillkit.programs.doctor
import distillkit.programs.estimate.program
import distillkit.programs.evaluate.program
import distillkit.programs.report
import distillkit.programs.study.program
import distillkit.programs.sweep
import distillkit.programs.train.program
import distillkit.programs.undo.program  # noqa: F401
from distillkit import cli

MORE_MEMORY = 6 << 30
"""Bytes that a command may ask for beyond what this process has."""


@dataclass(frozen=True, slots=True)
class Call:
    """One command line.

    Attributes:
        arguments: behind ``distillkit``.
        folder: where it is typed; a fresh one if None.
        environment: variables set beside those of this process.
        seconds: after which it is asked to stop.
    """

    arguments: Sequence[str]
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a call left.

    Attributes:
        call: the call.
        code: exit code, -n where signal n ended it.
        late: whether it had to be asked to stop.
        folder: where it was typed.
    """

    call: Call
    code: int
    out: str
    err: str
    late: bool
    folder: Path


class Child:
    """A command that is running."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.folder = call.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._streams = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        self._began, self._asked = time.monotonic(), 0
        self.pid = os.fork()
        if self.pid == 0:
            _become(call, self.folder, [stream.fileno() for stream in self._streams])

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> Ended | None:
        """The result, or None while it runs; what runs too long is asked to stop, then killed."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            late = time.monotonic() - self._began - self.call.seconds
            if late > 30 * self._asked:
                os.kill(self.pid, signal.SIGKILL if self._asked else signal.SIGTERM)
                self._asked += 1
            return None
        texts = []
        for stream in self._streams:
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
            stream.close()
        code = os.waitstatus_to_exitcode(status)
        return Ended(self.call, code, *texts, late=self._asked > 0, folder=self.folder)

    def wait(self) -> Ended:
        """The result."""
        while (ended := self.ended()) is None:
            time.sleep(0.01)
        return ended


def run(call: Call) -> Ended:
    """One call to its end."""
    return Child(call).wait()


def run_all(calls: Iterable[Call], *, side_by_side: int | None = None) -> Iterator[Ended]:
    """Calls as they end, several at a time; fresh folders are removed after their turn."""
    most = side_by_side or os.cpu_count() or 1
    running: list[Child] = []
    waiting = iter(calls)
    exhausted = False
    while running or not exhausted:
        while len(running) < most and not exhausted:
            call = next(waiting, None)
            exhausted = call is None
            if call is not None:
                running.append(Child(call))
        for child in list(running):
            if (ended := child.ended()) is not None:
                running.remove(child)
                yield ended
                if ended.call.folder is None:
                    shutil.rmtree(ended.folder, ignore_errors=True)
        time.sleep(0.005)


def _become(call: Call, folder: Path, streams: Sequence[int]) -> None:
    """Turn this fork into ``distillkit ...``; it never returns."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, stream in enumerate(streams, 1):
            os.dup2(stream, number)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        _limit_memory()
        constants.HF_HUB_OFFLINE = True
        os.chdir(folder)
        os.environ.update(call.environment)
        sys.argv = ["distillkit", *call.arguments]
        cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 1
        os._exit(code)


def _limit_memory() -> None:
    """A command that asks for far too much fails, and this machine lives on."""
    size = Path("/proc/self/statm")
    if size.is_file():
        limit = int(size.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
