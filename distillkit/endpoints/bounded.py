"""Bodies that end: however a server packs them, no more is read than a reply can need."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any

LARGEST = 8 * 2**20
"""Bytes of the largest body of text; a reply of a hundred thousand tokens has one."""

_UNPACKED = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")


class Malformed(Exception):  # noqa: N818 (a reply, not yet an error)
    """The server said 200 and sent no completion.

    Attributes:
        status_code: 200 where another attempt would bring the same, else None.
    """

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


def bounding(largest: int = LARGEST) -> Callable[[Any], Awaitable[None]]:
    """A hook of the HTTP client's: a body that is still to come fails where it grows too large.

    It also unpacks the body, which the client would do without bound.

    Args:
        largest: bytes of the largest body.
    """

    async def bound(response: Any) -> None:
        packing = response.headers.pop("content-encoding", "").strip().lower()
        if packing not in (*_UNPACKED, *_PACKED):
            raise Malformed(f"a body packed as {packing[:20]!r}", status_code=200)
        base = next(kind for kind in type(response.stream).__mro__ if kind.__name__ == _STREAM)
        packed = packing in _PACKED
        response.stream = _bounded(base)(response.stream, packed=packed, largest=largest)

    return bound


_STREAM = "AsyncByteStream"
"""The client's own class of bodies; which package it is from is the package openai's affair."""


@cache
def _bounded(base: type) -> type:
    class Bounded(base):  # type: ignore[misc]
        """A body, unpacked, that fails beyond the largest size."""

        def __init__(self, body: Any, *, packed: bool, largest: int) -> None:
            self._body, self._packed, self._largest = body, packed, largest

        async def __aiter__(self) -> AsyncIterator[bytes]:
            unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if self._packed else None
            room = self._largest
            async for chunk in self._body:
                try:
                    part = unpack.decompress(chunk, room + 1) if unpack else chunk
                except zlib.error as error:
                    raise Malformed("a damaged body") from error
                room -= len(part)
                if room < 0:
                    raise Malformed(
                        f"a body of more than {max(1, self._largest >> 20)} MB", status_code=200
                    )
                yield part

        async def aclose(self) -> None:
            await self._body.aclose()

    return Bounded
