"""Units of measurement: what is counted after a number, and what it is worth beside another."""

import re
from dataclasses import dataclass
from fractions import Fraction

_SIZES: dict[str, dict[str, Fraction]] = {
    "length": {
        "mm": Fraction(1, 1000),
        "cm": Fraction(1, 100),
        "dm": Fraction(1, 10),
        "m": Fraction(1),
        "km": Fraction(1000),
        "inch": Fraction(254, 10000),
        "foot": Fraction(3048, 10000),
        "yard": Fraction(9144, 10000),
        "mile": Fraction(1609344, 1000),
    },
    "mass": {
        "mg": Fraction(1, 1000),
        "g": Fraction(1),
        "kg": Fraction(1000),
        "pound": Fraction(45359237, 100000),
        "ounce": Fraction(45359237, 1600000),
        "ton": Fraction(1000000),
    },
    "time": {
        "second": Fraction(1),
        "minute": Fraction(60),
        "hour": Fraction(3600),
        "day": Fraction(86400),
        "week": Fraction(604800),
        "year": Fraction(31557600),
    },
    "volume": {"ml": Fraction(1, 1000), "liter": Fraction(1), "gallon": Fraction(473, 125)},
    "money": {"dollar": Fraction(1), "cent": Fraction(1, 100)},
    "angle": {"degree": Fraction(1)},
    "euros": {"euro": Fraction(1)},
}
_OTHER_NAMES = {
    **{"millimeter": "mm", "centimeter": "cm", "decimeter": "dm", "meter": "m", "kilometer": "km"},
    **{"in": "inch", "inches": "inch", "ft": "foot", "feet": "foot", "yd": "yard", "mi": "mile"},
    **{"milligram": "mg", "gram": "g", "kilogram": "kg", "lb": "pound", "lbs": "pound"},
    **{"oz": "ounce", "s": "second", "sec": "second", "min": "minute", "h": "hour", "hr": "hour"},
    **{"yr": "year", "milliliter": "ml", "mL": "ml", "L": "liter", "l": "liter", "USD": "dollar"},
    **{"cents": "cent", "deg": "degree"},
}
_BRITISH = re.compile(r"(met|lit)re")

_KNOWN = {
    name: (dimension, size) for dimension, sizes in _SIZES.items() for name, size in sizes.items()
}
UNITS = frozenset(
    [
        *_KNOWN,
        *_OTHER_NAMES,
        *(f"{name}s" for name in (*_KNOWN, *_OTHER_NAMES) if len(name) > 2),
        *("percent", "unit", "units", "dollars", "cents", "metre", "metres", "litres"),
        *("mph", "kph", "pm", "am"),
    ]
)
"""Words that are units wherever they follow a number."""

_TRAILING = re.compile(
    r"(?P<value>.*?[^{,(])\\text\{(?P<unit>[^{}]*)\}(?:\^\{?(?P<power>\d)\}?)?", re.S
)
_PERCENT = re.compile(r"(?P<value>.+?)(?:\\?%|\\text\{(?:percent|per cent|\\?%)\})")


@dataclass(frozen=True, slots=True)
class Unit:
    """A known unit to a power, such as square centimetres."""

    dimension: str
    size: Fraction
    power: int

    def times(self, other: "Unit") -> Fraction | None:
        """How many of the other one it is; None where they measure different things."""
        if (self.dimension, self.power) != (other.dimension, other.power):
            return None
        return (self.size / other.size) ** self.power


def without_unit(text: str) -> tuple[str, Unit | None]:
    r"""The number of ``5\text{cm}^2``, and its unit, None where it is none that is known.

    What is counted, such as apples, is dropped.
    """
    found = _TRAILING.fullmatch(text)
    if found is None:
        return text, None
    return found["value"], _unit(found["unit"], int(found["power"] or 1))


def without_percent(text: str) -> str | None:
    """The number of a percentage, None where it is none."""
    found = _PERCENT.fullmatch(text)
    return found["value"] if found else None


def _unit(words: str, power: int) -> Unit | None:
    *before, name = _BRITISH.sub(r"\1er", words.strip(" .")).split() or [""]
    powers = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3}
    if before and before[0].lower() in powers:
        power = powers[before.pop(0).lower()]
    if before:
        return None
    for spelling in (name, name.lower(), name.lower().removesuffix("s")):
        spelling = _OTHER_NAMES.get(spelling, spelling)
        if spelling in _KNOWN:
            return Unit(*_KNOWN[spelling], power)
    return None
