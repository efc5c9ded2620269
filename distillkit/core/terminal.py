"""The one way to a console, on which every text is printed as it is.

Names, prompts and errors hold square brackets and colons, which rich would take for styles and
emoji. Styles are given as arguments, never inside of text.
"""

import os

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from distillkit.core import world

WIDE = 120
"""Columns of the larger tables where there is no terminal to ask."""
NARROWEST = 40
"""Columns below which tables say nothing any more."""


def terminal(*, columns: int = 80) -> Console:
    """A console on standard output, of so many columns where there is no terminal to ask.

    Of several processes of one run the first one speaks.
    """
    console = Console(markup=False, emoji=False, highlight=False, quiet=world.rank() > 0)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = columns
    elif console.width < NARROWEST:
        console.width = NARROWEST
    return console


def tight_table(title: str, *columns: Column) -> Table:
    """A table whose columns stand close, without lines between them."""
    return Table(
        *columns, title=title, box=SIMPLE_HEAD, padding=0, show_edge=False, title_justify="left"
    )


def of_numbers(*heads: str) -> list[Column]:
    """Columns that stand to the right and are never wrapped."""
    return [Column(head, justify="right", no_wrap=True) for head in heads]


def cell(value: float | None, form: str, *, absent: str = "") -> str:
    """A number as ``format`` has it."""
    return absent if value is None else format(value, form)
