"""When to ask a server again: evenly under a rate limit, and less and less often in trouble."""

import asyncio
from dataclasses import dataclass
from random import uniform
from time import monotonic

FIRST = 0.5
"""Seconds before the second attempt, at most."""
LONGEST = 8.0
"""Seconds between two attempts, unless the server asks for more; as in the package openai."""


@dataclass(slots=True)
class Patience:
    """How long failures are borne, all requests to one server together."""

    seconds: float
    """The longest time between a first failure and the next reply."""
    since: float | None = None
    """When the first failure was; None where there is no trouble."""

    def relieve(self) -> bool:
        """Note a reply, which ends a trouble. Whether there was one."""
        troubled = self.since is not None
        self.since = None
        return troubled

    def delay(self, failures: int, *, at_least: float = 0.0) -> float | None:
        """Note a failure. Seconds until the next attempt, None where patience is over.

        Doubles with every failure of this request and is shortened at random, so that requests
        that failed together do not come back together. The last attempt is at the very end.

        Args:
            failures: earlier ones of this request.
            at_least: seconds that the server asked for.
        """
        now = monotonic()
        if self.since is None:
            self.since = now
        left = self.since + self.seconds - now
        if left <= 0:
            return None
        # The exponent is bounded, because a float is.
        longest = min(LONGEST, FIRST * 2 ** min(failures, 10))
        return min(max(uniform(longest / 2, longest), at_least), left)


class Pace:
    """Lets one caller pass every so often.

    Args:
        per_minute: how many pass in a minute; None for no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self.spacing = 60 / per_minute if per_minute else 0.0
        self.next = 0.0

    async def turn(self) -> None:
        """Wait until it is this caller's turn."""
        now = monotonic()
        turn = max(now, self.next)
        self.next = turn + self.spacing
        await asyncio.sleep(turn - now)
