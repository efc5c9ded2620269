"""Processes of the command line, forked from one that has imported distillkit already."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

ROOT = Path(__file__).parents[1]

ADDRESS = "DISTILLKIT_TESTS_ZYGOTE"
"""Environment variable by which the workers of a test run find its zygote."""

READ_AT_IMPORT = ("HF_", "TRANSFORMERS_", "TOKENIZERS_", "TORCH", "OMP_", "MKL_", "MPL", "PYTHON")
"""Beginnings of environment variables that a forked process would read too late."""


class Started:
    """A process that was started, to be waited for, signalled and read.

    Attributes:
        pid: its process id.
        returncode: once it has ended, its exit code, or the negative number of the signal.
    """

    def __init__(
        self,
        *arguments: str | Path,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        module: str = "distillkit",
    ) -> None:
        late = [name for name in environment or {} if name.startswith(READ_AT_IMPORT)]
        assert not late, f"{late} need a process that was not forked"
        call = {
            "module": module,
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder),
            "environment": {**os.environ, **(environment or {})},
        }
        self.returncode: int | None = None
        self._out, self._err = (TemporaryFile() for _ in range(2))  # noqa: SIM115
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(os.environ[ADDRESS])
        with open(os.devnull, "rb") as nothing:
            streams = [nothing.fileno(), self._out.fileno(), self._err.fileno()]
            socket.send_fds(self._connection, [json.dumps(call).encode()], streams)
        self._told = self._connection.makefile("r")
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        try:
            return self.wait(0)
        except TimeoutError:
            return None

    def wait(self, timeout: float = 240) -> int:
        """The exit code; raises TimeoutError after so many seconds."""
        if self.returncode is None:
            if not select([self._connection], [], [], timeout)[0]:
                raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
            self.returncode = int(self._told.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """What it said on both streams, once it has ended; it is killed if it does not end."""
        try:
            self.wait(timeout)
        except TimeoutError:
            self.kill()
            raise
        return _read(self._out), _read(self._err)


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


@contextmanager
def zygote() -> Iterator[None]:
    """Start the process that is forked, and tell this one and its children where it listens."""
    with TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/zygote")
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", str(listener.fileno())],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()
        os.environ[ADDRESS] = f"{folder}/zygote"
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            process.communicate()
