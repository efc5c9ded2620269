"""stub"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    arithmetic = "arithmetic"
    setup = "setup"
    unparsable = "unparsable"


@dataclass
class Equation:
    operators: tuple


def false_equations(text):
    out = []
    for a, o, b, c in re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", text):
        v = {
            "+": int(a) + int(b),
            "-": int(a) - int(b),
            "*": int(a) * int(b),
            "/": int(a) / int(b) if int(b) else None,
        }[o]
        if v != int(c):
            out.append(Equation((o,)))
    return out


def fault_of(d, e, t):
    if d.extract(t) is None:
        return Fault.unparsable
    return Fault.arithmetic if false_equations(t) else Fault.setup
