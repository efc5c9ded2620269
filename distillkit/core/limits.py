"""What a template may cost: characters handled, rounds of loops and calls, and time.

Templates come with models and files of strangers. Whatever may grow is measured before it is made,
so that a template ends after the same work on every machine; the clock is the last resort.
"""

import re
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from contextvars import ContextVar
from math import inf
from time import monotonic
from typing import Any

from jinja2.utils import Namespace

from distillkit.core.errors import DistillkitError

LONGEST = 4_000_000
"""Characters of one text that a template may make, beside ``FACTOR`` times what it is given."""
FACTOR = 20
WORK = 100_000_000
"""Characters that it may handle in all, beside ``SHARE`` times what it is given."""
SHARE = 200
ROUND = 200
"""Characters that a round of a loop counts as."""
CALL = 1000
"""Characters that a call counts as."""
SECONDS = 10.0
"""The longest rendering."""
BITS = 10_000
"""Digits of a whole number, in base 2."""
WIDTH = 10_000
"""The widest field of a format."""

VIEWS = KeysView | ValuesView | ItemsView

WIDE = re.compile(r"%[-+ #0]*\d{5,}|%[^A-Za-z%]*\.\d{5,}|\{[^{}]*:[^{}]*\d{5,}")
"""A field that is wider than that."""


class LimitError(DistillkitError):
    """A template asks for too much; the message ends a sentence about it."""


class Meter:
    """What one rendering has left.

    Args:
        given: characters that the template is given.
    """

    def __init__(self, given: int) -> None:
        self.longest = LONGEST + FACTOR * given
        self._left = WORK + SHARE * given
        self._until, self._spent = monotonic() + SECONDS, 0

    def spend(self, characters: int) -> None:
        """Count some work.

        Raises:
            LimitError: there was none left, or time is up.
        """
        self._left -= characters
        self._spent += 1
        if self._left < 0:
            raise LimitError("it loops or grows without end")
        if (characters > 10_000 or not self._spent % 64) and monotonic() > self._until:
            raise LimitError(f"it takes more than {SECONDS:.0f} seconds")

    def fit(self, characters: int) -> None:
        """Count a text, or another value as long as its text, before it is made.

        Raises:
            LimitError: it would be too long.
        """
        if characters > self.longest:
            raise LimitError(f"it makes a text of {characters:,} characters")
        self.spend(characters)

    def weigh(self, *values: Any) -> int:
        """About how many characters values make as text.

        Raises:
            LimitError: more than a text may have.
        """
        return weight_of(values, most=self.longest)


def weight_of(values: Iterable[Any], *, most: float = inf) -> int:
    """See :meth:`Meter.weigh`."""
    total, waiting = 0, list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | bytes):
            total += len(value)
        elif value is None or isinstance(value, int | float):
            pass
        elif isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset | VIEWS):
            waiting += value
        elif isinstance(value, range):
            total += 8 * len(value)
        elif isinstance(value, Namespace):
            waiting.append(value._Namespace__attrs)
        elif hasattr(type(value), "__dataclass_fields__"):
            waiting += [getattr(value, name) for name in value.__dataclass_fields__]
        total += 4
        if total > most:
            raise LimitError("it makes a text of millions of characters")
    return total


METER: ContextVar[Meter] = ContextVar("METER")


class Counted:
    """What a loop runs over, counted round by round."""

    def __init__(self, items: Any) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        spend = METER.get().spend
        for item in self._items:
            spend(ROUND)
            yield item

    def __len__(self) -> int:
        return len(self._items)


def concatenate(pieces: Iterable[str]) -> str:
    """The pieces of a block as one text."""
    meter, pieces = METER.get(), list(pieces)
    meter.fit(sum(map(len, pieces)))
    return "".join(pieces)


def join_values(values: tuple[Any, ...]) -> str:
    """``a ~ b ~ c``."""
    meter = METER.get()
    meter.fit(meter.weigh(*values))
    return "".join(map(str, values))


def shown(value: Any) -> Any:
    """A value that is about to become text, unchanged."""
    if not isinstance(value, str):
        meter = METER.get()
        meter.fit(meter.weigh(value))
    return value


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too long."""
    meter = METER.get()
    if isinstance(left, str) and isinstance(right, str) and operator == "+":
        meter.fit(len(left) + len(right))
        return
    if isinstance(left, float) or isinstance(right, float):
        return
    if operator == "%" and isinstance(left, str):
        check_format(left, right)
    elif isinstance(left, int) and isinstance(right, int):
        if operator == "**" and left.bit_length() * max(0, right) > BITS and abs(left) > 1:
            raise LimitError(f"it raises {left} to the power of {right}")
        if operator == "*" and left.bit_length() + right.bit_length() > BITS:
            raise LimitError("it makes a number of thousands of digits")
    elif operator == "*":
        times, repeated = (left, right) if isinstance(left, int) else (right, left)
        if isinstance(times, int):
            meter.fit(max(0, times) * meter.weigh(repeated))
    elif operator == "+":
        meter.fit(meter.weigh(left, right))


def check_format(template: str, *values: Any) -> None:
    """Refuse a format whose fields are too wide or too many."""
    meter = METER.get()
    nested = "*" in template or bool(re.search(r"\{[^{}]*\{", template))
    if WIDE.search(template) or (nested and any(number > WIDTH for number in _numbers(values))):
        raise LimitError(f"it formats a field of more than {WIDTH:,} characters")
    fields = template.count("%") + template.count("{")
    meter.fit(len(template) + fields * (meter.weigh(*values) + WIDTH * nested))


def check_method(text: str, method: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a call of a text's method whose result would be too long.

    Returns:
        The arguments; what can be read once only is read.
    """
    meter = METER.get()
    meter.spend(len(text))
    match method:
        case "join" if values:
            items = list(Counted(values[0]))
            meter.fit(meter.weigh(items) + len(text) * len(items))
            return (items, *values[1:])
        case "replace" if len(values) > 1:
            check_replacement(text, *values[:2])
        case "ljust" | "rjust" | "center" | "zfill":
            meter.fit(max((0, *_numbers(values))))
        case "expandtabs":
            meter.fit((text.count("\t") + 1) * max((8, *_numbers(values))))
        case "translate":
            meter.fit(len(text) * meter.weigh(*values))
    return values


def check_replacement(text: Any, old: Any, new: Any) -> None:
    """Refuse to put too much in the place of what stands often."""
    text, old, new = str(text), str(old), str(new)
    METER.get().fit(len(text) + text.count(old) * len(new))


FREE = frozenset({"length", "count", "first", "last", "default", "d", "items", "attr", "list"})
"""Filters that make no text."""
SPREADING = frozenset({"indent", "wordwrap", "tojson", "pprint", "sum"})
"""Filters that may put as much as they are told, or have, beside each part of a value."""


def guarded(name: str, filter_: Callable[..., Any], *, skip: int) -> Callable[..., Any]:
    """A filter that is measured before it works.

    Args:
        name: as a template has it.
        filter_: from Jinja.
        skip: arguments before the value, which Jinja itself gives.
    """

    def checked(*given: Any, **named: Any) -> Any:
        meter = METER.get()
        value, *others = given[skip:] or (None,)
        meter.spend(ROUND)
        if name == "join":
            value = list(Counted(value))
            given = (*given[:skip], value, *others)
        if name == "replace" and len(others) > 1:
            check_replacement(value, *others[:2])
        elif name == "format":
            check_format(str(value), *others, named)
        elif name not in FREE:
            _check_filter(name, value, [*others, *named.values()])
        return shown(filter_(*given, **named)) if name == "string" else filter_(*given, **named)

    return checked


def _check_filter(name: str, value: Any, others: list[Any]) -> None:
    meter = METER.get()
    numbers = [abs(number) for number in _numbers(others)]
    if name == "round" and any(number > WIDTH for number in numbers):
        raise LimitError(f"it rounds to {max(numbers):,} digits")
    weight = meter.weigh(value)
    if name == "join":
        meter.fit(weight + len(value) * meter.weigh(*others))
    elif name in SPREADING:
        meter.fit(weight * max((1, meter.weigh(*others), *numbers)))
    else:
        meter.fit(weight + meter.weigh(*others) + max((0, *numbers)))


def _numbers(values: Iterable[Any]) -> list[int]:
    """Whole numbers among values, and in what these hold."""
    found = list[int]()
    for value in values:
        if isinstance(value, dict):
            found += _numbers(value.values())
        elif isinstance(value, list | tuple):
            found += _numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            found.append(value)
    return found
