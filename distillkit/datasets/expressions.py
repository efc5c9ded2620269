"""Sums of plain numbers, ``(3 + 4) * 2``, worked out exactly; nothing else is ever evaluated."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count

_SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A calculation without its numbers."""

    tree: ast.expr
    """Python's own reading of it, with a name ``n`` and a place for each number."""
    operators: tuple[str, ...]
    """``+ - * /`` in their order; a sign before a number is none."""

    def value(self, numbers: Sequence[Fraction]) -> Fraction | None:
        """What it makes of these numbers; None where it divides by zero."""
        try:
            return _value(self.tree, numbers)
        except ZeroDivisionError:
            return None


def parse(symbols: Sequence[str]) -> Expression | None:
    """The calculation that symbols spell; None where they spell none.

    Args:
        symbols: ``+ - * / ( )``, and ``n`` for each number.
    """
    places = count()
    spelt = [f"n{next(places)}" if symbol == "n" else symbol for symbol in symbols]
    try:
        tree = ast.parse(" ".join(spelt), mode="eval").body
    except SyntaxError:
        return None
    return Expression(tree, tuple(_operators(tree))) if _is_plain(tree) else None


def _is_plain(node: ast.expr) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return _is_plain(inner)
        case ast.BinOp(left=left, op=operator, right=right):
            return type(operator) in _SIGNS and _is_plain(left) and _is_plain(right)
    return False


def _operators(node: ast.expr) -> list[str]:
    match node:
        case ast.BinOp(left=left, op=operator, right=right):
            return [*_operators(left), _SIGNS[type(operator)], *_operators(right)]
        case ast.UnaryOp(operand=inner):
            return _operators(inner)
    return []


def _value(node: ast.expr, numbers: Sequence[Fraction]) -> Fraction:
    match node:
        case ast.Name(id=name):
            return numbers[int(name[1:])]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner, numbers)
        case ast.UnaryOp(operand=inner):
            return _value(inner, numbers)
        case ast.BinOp(left=left, op=operator, right=right):
            one, other = _value(left, numbers), _value(right, numbers)
            match operator:
                case ast.Add():
                    return one + other
                case ast.Sub():
                    return one - other
                case ast.Mult():
                    return one * other
                case ast.Div():
                    return one / other
    raise AssertionError(node)
