"""The one way to a console, on which every text is printed as it is.

Names, prompts and errors hold square brackets and colons, which rich would take for styles and
emoji. Styles are given as arguments, never inside of text.
"""

import os

from rich.console import Console

WIDTH = 120
"""Columns where there is no terminal to ask."""
NARROWEST = 40
"""Columns below which tables say nothing any more."""


def terminal() -> Console:
    """A console on standard output."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    elif console.width < NARROWEST:
        console.width = NARROWEST
    return console
