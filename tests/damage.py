"""Kinds of damage to a file: what disks, crashes, editors and strangers make of one."""

from collections.abc import Callable

DEEP = 100_000


def _flipped(content: bytes, at: float) -> bytes:
    changed = bytearray(content or b"\0")
    changed[min(int(at * len(changed)), len(changed) - 1)] ^= 1
    return bytes(changed)


def _another_digit(content: bytes) -> bytes:
    """The last digit of a file raised by one: still what it was in form."""
    for place in reversed(range(len(content))):
        if content[place : place + 1].isdigit():
            digit = (int(content[place : place + 1]) + 1) % 10
            return content[:place] + str(digit).encode() + content[place + 1 :]
    return content + b"1"


KINDS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("empty", lambda content: b""),
    ("torn in half", lambda content: content[: len(content) // 2]),
    ("cut by a byte", lambda content: content[:-1]),
    ("a bit flipped at its start", lambda content: _flipped(content, 0.0)),
    ("a bit flipped in its middle", lambda content: _flipped(content, 0.5)),
    ("a bit flipped at its end", lambda content: _flipped(content, 1.0)),
    ("another digit", _another_digit),
    ("twice", lambda content: content + content),
    ("NUL bytes", lambda content: bytes(len(content) or 8)),
    ("NUL bytes at its end", lambda content: content + bytes(64)),
    ("not UTF-8", lambda content: b"\xff\xfe\xfa" + content),
    ("UTF-16", lambda content: content.decode("latin-1").encode("utf-16")),
    ("an empty object", lambda content: b"{}"),
    ("an empty list", lambda content: b"[]"),
    ("a list of objects", lambda content: b"[{}]"),
    ("null", lambda content: b"null"),
    ("a number", lambda content: b"3"),
    ("a text", lambda content: b'"text"'),
    ("not a number", lambda content: b"NaN"),
    ("lists nested deep", lambda content: b"[" * DEEP),
    ("objects nested deep", lambda content: b'{"a":' * DEEP),
    ("a huge integer", lambda content: b"1" * 5000),
    ("a huge integer in an object", lambda content: b'{"step": ' + b"1" * 5000 + b"}"),
]
"""Names, and what becomes of a file's bytes."""
