"""What a server wrote, which of it is worth keeping, and what is said where much is not."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import loads

from distillkit.core.store import Store
from distillkit.core.thoughts import spoken

CUT = ("length", "max_tokens")
"""Reasons to end that a server gives where the limit on the length did it."""
BEARABLE = 0.2
"""Share of replies that may be of no use before it is said."""
QUOTED = 300
"""Characters of a server's own words that a message repeats."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server wrote."""

    text: str
    """The reply, "" where the server wrote none."""
    prompt_tokens: int | None
    """Tokens read, by the server's count; None where it does not count."""
    completion_tokens: int | None
    """Tokens written."""
    finish_reason: str | None
    """Why it ended, in the server's words: stop, length, content_filter."""
    reused: bool = False
    """Whether it was in the store already, so that nothing was asked."""


Keeps = Callable[[Reply], bool]


def is_whole(reply: Reply) -> bool:
    """Whether it says something, beside what was thought, and to its end."""
    return bool(spoken(reply.text)) and reply.finish_reason not in CUT


def in_store(store: Store, keys: Sequence[str], keeps: Keeps) -> dict[str, Reply]:
    """What a store has of these keys, less what it would not keep today."""
    replies = {key: Reply(**loads(value)) for key, value in store.get(keys).items()}
    return {key: reply for key, reply in replies.items() if keeps(reply)}


def complaint(useless: Sequence[Reply], asked: int, *, who: str, lack: str, key: str) -> str | None:
    """One line where more replies are useless than can be borne, with the first of them.

    Args:
        useless: replies that cannot be used.
        asked: how many replies there are.
        who: model and field, as the user types it.
        lack: what the useless ones do.
        key: environment variable of the key, which is not repeated.
    """
    if len(useless) <= BEARABLE * asked:
        return None
    first = useless[0]
    shown = quoted(first.text, os.environ.get(key, "").strip())
    return (
        f"warning: {len(useless)} of {asked} replies of {who} {lack}; the first is {shown!r}, "
        f"finish_reason={first.finish_reason}. Look at the server, and at max_tokens; empty and "
        "cut replies are asked for again by the same command."
    )


def quoted(words: str, key: str) -> str:
    """In one short line and without the key."""
    words = " ".join((words.replace(key, "...") if key else words).split())
    return words if len(words) <= QUOTED else f"{words[:QUOTED]}..."
