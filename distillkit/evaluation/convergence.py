"""When to stop rewriting lessons, and which student to return (UNDO, arXiv:2504.02521)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

LEAST_GAIN = 0.005
"""Half a point: less is not worth another iteration, however many validation items there are."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the validation accuracies so far say."""

    best: int
    """The iteration to return, the earliest of those with the highest accuracy."""
    stop: str | None
    """Why to stop, None where another iteration is worth its cost."""


def decide(
    accuracies: Sequence[float],
    *,
    items: int,
    iterations: int,
    patience: int,
    min_gain: float | None = None,
) -> Decision:
    """Judge the iterations done.

    The same items say which lessons to rewrite and when to stop, so the accuracy of the iteration
    returned is biased upward: report another split.

    Args:
        accuracies: of iterations 0, 1, ... on the validation items.
        items: their number.
        iterations: most rewritings.
        patience: iterations without a gain after which to stop.
        min_gain: what must be gained over the best before to count; None is one binomial standard
            error of that best, and at least half a point.
    """
    best = stale = 0
    needed = 0.0
    for number, accuracy in enumerate(accuracies[1:], 1):
        before = accuracies[best]
        needed = gain_needed(before, items) if min_gain is None else min_gain
        stale = 0 if accuracy > before + needed else stale + 1
        best = number if accuracy > before else best
    if stale >= patience:
        return Decision(
            best,
            f"no gain of more than {100 * needed:.1f} points for {stale} "
            f"iteration{'s' if stale > 1 else ''}",
        )
    if len(accuracies) > iterations:
        return Decision(best, f"iterations={iterations} are done")
    if accuracies[-1] == 1:
        return Decision(best, "the student makes no error to write for")
    return Decision(best, None)


def gain_needed(accuracy: float, items: int) -> float:
    """One binomial standard error of an accuracy, at least :data:`LEAST_GAIN`."""
    return max(LEAST_GAIN, sqrt(accuracy * (1 - accuracy) / items))
