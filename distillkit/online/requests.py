"""Requests: a stream's domains, and what is asked in each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distillkit.core.types import Example


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt that is to be answered.

    Attributes:
        index: its place in the stream, from 0.
        domain: where it comes from.
        example: what is asked.
    """

    index: int
    domain: str
    example: Example


def requests_of(order: Sequence[str], examples: Mapping[str, Sequence[Example]]) -> list[Request]:
    """A request for each domain of a stream, with its next prompt; all again where none is left.

    Args:
        order: the domain of every request.
        examples: prompts by domain.
    """
    asked = Counter[str]()
    requests = []
    for index, domain in enumerate(order):
        prompts = examples[domain]
        requests.append(Request(index, domain, prompts[asked[domain] % len(prompts)].unlabelled()))
        asked[domain] += 1
    return requests
