"""Which draft proposes for a request."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import sqrt

from distillkit.core.types import Example
from distillkit.online.requests import Request
from distillkit.online.settings import Routing

Route = Callable[[Request], str]
"""The name of the draft that proposes for a request."""

ALL = "all"
"""Name of the one draft that proposes for all."""


def route_of(routing: Routing, held: Mapping[str, Sequence[Example]]) -> tuple[list[str], Route]:
    """The names of all drafts, and how one of them is chosen.

    Args:
        routing: by what.
        held: held-out prompts by domain, which the classifier learns the domains from.
    """
    match routing:
        case Routing.none:
            return [ALL], lambda _: ALL
        case Routing.domain:
            return [*held], lambda request: request.domain
        case Routing.classifier:
            nearest = Nearest(held)
            return [*held], lambda request: nearest(request.example)


class Nearest:
    """The domain whose prompts use the most similar words: the nearest centroid by cosine."""

    def __init__(self, held: Mapping[str, Sequence[Example]]) -> None:
        shared = Counter(word for each in held.values() for word in {*_words(each)})
        # A word of all domains tells nothing.
        self._centres = {
            domain: _unit({w: n for w, n in _words(each).items() if shared[w] < len(held)})
            for domain, each in held.items()
        }

    def __call__(self, example: Example) -> str:
        words = _words([example])
        return max(
            self._centres,
            key=lambda domain: sum(
                count * self._centres[domain].get(word, 0.0) for word, count in words.items()
            ),
        )


def _words(examples: Sequence[Example]) -> Counter[str]:
    return Counter(word for example in examples for word in example.question.lower().split())


def _unit(counts: Mapping[str, int]) -> dict[str, float]:
    length = sqrt(sum(count**2 for count in counts.values())) or 1.0
    return {word: count / length for word, count in counts.items()}
