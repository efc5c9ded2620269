"""How a verb ends: an exit code, and where the user has to do something, one sentence."""

from collections.abc import Callable
from unicodedata import category

import typer

from distillkit.core import world
from distillkit.core.errors import (
    FULL,
    DistillkitError,
    Interrupted,
    is_full,
    refused_path,
)
from distillkit.core.secrets import hidden
from distillkit.core.stopping import stoppable
from distillkit.core.streams import lost

BREAKING = ("Cc", "Zl", "Zp")
"""Unicode's control characters and separators of lines and paragraphs."""


def code_of(verb: Callable[[], int | None]) -> int:
    """Call the verb that was typed; its exit code.

    0, 2 for the user's errors, 128 + n where signal n stopped it; doctor alone has 1 too.
    """
    try:
        with stoppable():
            code = verb() or 0
    except typer.TyperException as error:
        # Where nothing was asked for, the help has been printed, and the message is empty.
        return _said(_usage(error), code=2) if error.format_message() else 2
    except DistillkitError as error:
        return _said(error, code=2)
    except Interrupted as stop:
        return _said(stop, code=128 + stop.signal)
    except Exception as error:
        if (sentence := FULL if is_full(error) else refused_path(error) or _broken(error)) is None:
            raise
        return _said(sentence, code=2)
    finally:
        _leave()
    if full := lost():
        return _said(f"some of what was printed is lost ({full.strerror})", code=code)
    return code


def _broken(error: Exception) -> str | None:
    """A sentence where the other processes of a run are gone; alone, there are none."""
    if world.size() == 1:
        return None
    from distillkit.distributed.group import broken

    return broken(error)


def _leave() -> None:
    if world.size() > 1:
        from distillkit.distributed.group import leave

        leave()


def _usage(error: typer.TyperException) -> str:
    """What is wrong with an option or argument, and where it is described."""
    context = getattr(error, "ctx", None)
    said = error.format_message()
    stop = "" if said.endswith((".", "?")) else "."
    return f"{said}{stop} See {context.command_path if context else 'distillkit'} --help."


def _said(message: object, *, code: int) -> int:
    if world.size() == 1 or world.apart() or _speaks():
        typer.echo(f"distillkit: {_on_one_line(hidden(str(message)))}", err=True)
    return code


def _speaks() -> bool:
    """Whether no other process of the run has said why it ends."""
    from distillkit.distributed.group import speaks

    return speaks()


def _on_one_line(said: str) -> str:
    """Line breaks and control characters, of a name that was typed or read, as escapes."""
    return "".join(
        each.encode("unicode_escape").decode() if category(each) in BREAKING else each
        for each in said
    )
