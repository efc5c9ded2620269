"""Requests of one attempt go together, because all of them are decoded alike."""

from collections.abc import Callable, Sequence

from distillkit.endpoints.replies import Reply
from distillkit.lessons.base import Request


def by_attempt(
    requests: Sequence[Request], write: Callable[[int, Sequence[Request]], list[Reply]]
) -> list[Reply]:
    """A reply to each request, in order.

    Args:
        requests: of any attempts.
        write: takes an attempt and all its requests, first attempts first.
    """
    replies: dict[int, Reply] = {}
    for attempt in sorted({request.attempt for request in requests}):
        rows = [row for row, request in enumerate(requests) if request.attempt == attempt]
        written = write(attempt, [requests[row] for row in rows])
        replies |= dict(zip(rows, written, strict=True))
    return [replies[row] for row in range(len(requests))]
