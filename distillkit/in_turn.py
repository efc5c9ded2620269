"""``python -m distillkit.in_turn --then a ... --then b ...``: several commands in one process.

Each is as if typed. The first that does not end well is the last, and its exit code is this one's.
"""

import sys
from itertools import groupby

from distillkit.cli import coded
from distillkit.core.streams import lasting
from distillkit.programs.cell import THEN


def main() -> int:
    """Exit code of the last command that ran."""
    arguments = sys.argv[1:]
    for is_break, words in groupby(arguments, lambda word: word == THEN):
        if is_break:
            continue
        sys.argv[1:] = words
        if code := coded():
            return code
    return 0


if __name__ == "__main__":
    with lasting():
        raise SystemExit(main())
