"""Worked rationales for the arithmetic world: a line an operation, and details beyond it."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from distillkit.datasets.wording import Operation

SIGN = {
    Operation.add: "+",
    Operation.subtract: "-",
    Operation.multiply: "*",
    Operation.divide: "/",
}


INVERSE = {
    Operation.add: Operation.subtract,
    Operation.subtract: Operation.add,
    Operation.multiply: Operation.divide,
    Operation.divide: Operation.multiply,
}


class Style(StrEnum):
    """How much of the work the dataset's own rationales spell out."""

    compact = "compact"
    expanded = "expanded"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on the running quantity, with its exact result."""

    left: int
    operation: Operation
    right: int

    @property
    def result(self) -> int:
        """Value after the step."""
        match self.operation:
            case Operation.add:
                return self.left + self.right
            case Operation.subtract:
                return self.left - self.right
            case Operation.multiply:
                return self.left * self.right
            case Operation.divide:
                return self.left // self.right

    @property
    def equation(self) -> str:
        """The step on one line: ``12 + 30 = 42``."""
        return f"{self.left} {SIGN[self.operation]} {self.right} = {self.result}"


class Detail(StrEnum):
    """What a rationale may say beyond its operations and their results."""

    add = "add"
    """Sums column by column."""
    subtract = "subtract"
    """Differences column by column."""
    multiply = "multiply"
    """Products digit by digit."""
    divide = "divide"
    """The product that a quotient stands on."""
    plan = "plan"
    """The whole expression first."""
    check = "check"
    """Each result tried by the inverse operation."""


def write_rationale(steps: tuple[Step, ...], details: Collection[Detail] = ()) -> str:
    """The rationale with these details, closed by ``#### N``."""
    lines = [_plan(steps)] if Detail.plan in details else []
    for step in steps:
        if Detail(step.operation) in details:
            lines += partial_results(step)
        lines.append(step.equation)
        if Detail.check in details:
            lines.append(_check(step))
    return "\n".join([*lines, f"#### {steps[-1].result}"])


def possible(steps: tuple[Step, ...]) -> list[Detail]:
    """Details that would change this rationale, in a fixed order."""
    made = {Detail(step.operation) for step in steps} | {Detail.plan, Detail.check}
    return [detail for detail in Detail if detail in made]


def partial_results(step: Step) -> list[str]:
    """Lines that lead to the step's result by single-digit work."""
    match step.operation:
        case Operation.add:
            return _sums(step.left, step.right)
        case Operation.subtract:
            return _differences(step.left, step.right)
        case Operation.multiply:
            return _partial_products(step.left, step.right)
        case Operation.divide:
            return [f"{step.result} * {step.right} = {step.left}"]


def _sums(left: int, right: int) -> list[str]:
    """Column by column from the right: both digits and the carry."""
    lines, carry, place = [], 0, 1
    while place <= max(left, right) or carry:
        a, b = left // place % 10, right // place % 10
        total = a + b + carry
        lines.append(f"{a} + {b} + {carry} = {total}")
        carry, place = total // 10, place * 10
    return lines


def _differences(left: int, right: int) -> list[str]:
    """Column by column from the right; what was borrowed is added below, ten above if need be."""
    lines, borrowed, place = [], 0, 1
    while place <= left:
        above, below = left // place % 10, right // place % 10 + borrowed
        borrowed = int(above < below)
        above += 10 * borrowed
        lines.append(f"{above} - {below} = {above - below}")
        place *= 10
    return lines


def _partial_products(left: int, right: int) -> list[str]:
    lines, total, place = [], 0, 1
    while place <= left:
        digit = left // place % 10
        product = digit * place * right
        lines.append(f"{digit * place} * {right} = {product}")
        if total and product:
            lines.append(f"{total} + {product} = {total + product}")
        total, place = total + product, place * 10
    return lines


def _plan(steps: tuple[Step, ...]) -> str:
    """All operations in one expression: ``(43 - 15) * 3``."""
    text = str(steps[0].left)
    for number, step in enumerate(steps):
        text = f"({text})" if number else text
        text += f" {SIGN[step.operation]} {step.right}"
    return text


def _check(step: Step) -> str:
    return f"{step.result} {SIGN[INVERSE[step.operation]]} {step.right} = {step.left}"
