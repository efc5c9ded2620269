"""Chats as OpenAI and ShareGPT write them, as messages of ours."""

from collections.abc import Sequence
from typing import Any

from distillkit.core.types import Message
from distillkit.datasets.rows import Row, shown

ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"}
"""What ShareGPT and its kin call those who speak."""

OF_TOOLS = ("tool", "function", "ipython", "observation", "function_call", "tool_call")
"""Roles of messages that no person and no model wrote as text."""

OPENAI, SHAREGPT = ("role", "content"), ("from", "value")
"""Who speaks and what is said, in the words of each."""

SKIP = "set dataset.unusable=skip to leave out all such rows"


def messages_of(row: Row, field: str) -> list[Message]:
    """The messages in a field of a row.

    Raises:
        DataError: there is no list, or a message of it is not text.
    """
    turns = row.values.get(field)
    if not isinstance(turns, list):
        found = "" if turns is None else f", but {field}={shown(turns)}"
        raise row.error(f"has no list of messages in {field}{found}")
    return [_message(row, turn) for turn in turns]


def unread_keys(chat: Sequence[Any], field: str) -> set[str]:
    """What messages have beside who speaks and what is said, such as ``messages.weight``."""
    return {
        f"{field}.{key}"
        for turn in chat
        if isinstance(turn, dict) and len(turn) > 2
        for key, value in turn.items()
        if value is not None and key not in (OPENAI if "role" in turn else SHAREGPT)
    }


def _message(row: Row, turn: object) -> Message:
    if not isinstance(turn, dict):
        raise _unfit(row, turn)
    who, what = OPENAI if "role" in turn else SHAREGPT
    role, content = turn.get(who), turn.get(what)
    if not isinstance(role, str):
        raise _unfit(row, turn)
    if role in OF_TOOLS or turn.get("tool_calls") or turn.get("function_call"):
        called = "" if role in OF_TOOLS else " that calls tools"
        raise row.error(
            f"has a message of the role {role}{called}, and only text is trained on",
            otherwise=SKIP,
        )
    if isinstance(content, list):
        content = "\n".join(_part(row, role, part) for part in content)
    if not isinstance(content, str):
        raise _unfit(row, turn)
    return Message(role=ROLES.get(role, role), content=content)


def _part(row: Row, role: str, part: Any) -> str:
    """The text of one part of a message's content."""
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("text") if isinstance(part, dict) else None
    if isinstance(text, str) and kind in ("text", "input_text", "output_text", None):
        return text
    raise row.error(
        f"has a part of the type {kind} in a message of the role {role}, and only text is "
        "trained on",
        otherwise=SKIP,
    )


def _unfit(row: Row, turn: object) -> Exception:
    return row.error(
        f"has the message {shown(turn)}, which lacks a role or a content that is text",
        otherwise=SKIP,
    )
