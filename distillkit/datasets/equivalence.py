"""Whether two LaTeX answers mean the same, found out in a process that can be ended.

A model may write a tower of powers that takes for ever to compare. math-verify's own timeouts are
signals, which only a main thread may set. So the comparison happens in a child process, which an
alarm ends when it takes too long, even if nobody waits any more; the next question gets a new one.
"""

import json
import os
import signal
import subprocess
import sys
from functools import cache
from threading import Lock

from distillkit.core.errors import RunError

SECONDS = 5.0
"""Longest comparison."""
STARTING = 60.0
"""The same of the first, for which SymPy prepares itself."""
MEMORY = 4 * 2**30
"""Bytes of the process that compares."""
LONGEST = 500
"""Characters of the longest expression that is compared; answers are far shorter."""


class Comparer:
    """A child process that compares pairs, one at a time, from any thread.

    Args:
        seconds: how long one comparison may take.
    """

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._child: subprocess.Popen[str] | None = None

    def same(self, known: str, said: str) -> bool:
        """Whether they mean the same; not if that cannot be found out in time.

        Raises:
            RunError: the child does not start.
        """
        if max(len(known), len(said)) > LONGEST:
            return False
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._child = _start()
            return _ask(self._child, [known, said], seconds=self._seconds) == "true"


@cache
def comparer() -> Comparer:
    """The one child of this process, started at the first question."""
    return Comparer()


def _start() -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,  # Ctrl-C is for the parent; the child ends with its input
    )
    if _ask(child, ["1", "1"], seconds=STARTING) != "true":
        raise RunError(
            "math-verify, which judges dataset=math, does not start. Try python -c 'import "
            "math_verify', and mend what it says."
        )
    return child


def _ask(child: subprocess.Popen[str], pair: list[str], *, seconds: float) -> str:
    """The child's line; empty, and the child gone, where it took too long or fell over."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps([*pair, seconds]) + "\n")
    child.stdin.flush()
    line = child.stdout.readline().strip()
    if not line:
        child.communicate()
    return line


def serve() -> None:
    """Answer pairs on standard input, a line each, until it ends. What the child does."""
    import logging
    import resource

    from distillkit.datasets.answers.latex import spelled
    from distillkit.datasets.answers.meaning import same

    logging.disable()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, most))
    # Its default is to end the process at once, whatever that is in the middle of.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin:
        *pair, seconds = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            known, said = map(spelled, pair)
            verdict = same(known, said)
        except Exception:  # what a reader of LaTeX or SymPy raises at nonsense is not theirs to say
            verdict = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    serve()
