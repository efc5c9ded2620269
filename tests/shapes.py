"""Shapes as annotations name them, checked at every call while tests run."""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray

MODULES = [
    f"distillkit.{name}"
    for name in (
        *("core.types", "divergences", "supports", "objectives", "metrics.evidence"),
        *("models.products", "models.head", "evaluation.estimators", "evaluation.tally"),
        "evaluation.evidence",
    )
]
"""Where annotations name shapes; a hook costs every call of a module, whatever it names."""


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have beartype check the shapes that a function names, and leave its other types to mypy."""
    hints = function.__annotations__
    if not any(map(_shaped, hints.values())):
        return function
    function.__annotations__ = {
        name: hint if _shaped(hint) else Any for name, hint in hints.items()
    }
    return beartype(function)


def _shaped(hint: Any) -> bool:
    named = isinstance(hint, type) and issubclass(hint, AbstractArray)
    return named or any(map(_shaped, get_args(hint)))
