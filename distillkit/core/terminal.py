"""The one way to a console, on which every text is printed as it is.

Names, prompts and errors hold square brackets and colons, which rich would take for styles and
emoji. Styles are given as arguments, never inside of text.
"""

import os

from rich.console import Console

WIDE = 120
"""Columns of the larger tables where there is no terminal to ask."""
NARROWEST = 40
"""Columns below which tables say nothing any more."""


def terminal(*, columns: int = 80) -> Console:
    """A console on standard output, of so many columns where there is no terminal to ask."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = columns
    elif console.width < NARROWEST:
        console.width = NARROWEST
    return console
