"""Shapes as annotations name them, checked at every call while tests run."""

from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, jaxtyped

MODULES = [
    f"distillkit.{name}"
    for name in (
        *("core.types", "divergences", "supports", "objectives", "metrics.evidence"),
        *("models.products", "models.head", "evaluation.estimators", "evaluation.tally"),
        "evaluation.evidence",
    )
]
"""Where annotations name shapes."""


def install() -> None:
    """Check those modules once they are imported, at what names a shape and at no other cost."""

    def where_named(*, typechecker: Callable[..., Any]) -> Callable[..., Any]:
        return lambda made: jaxtyped(made, typechecker=typechecker) if _names(made) else made

    # The hook writes ``jaxtyping.jaxtyped`` over every function, and each call would pass it.
    jaxtyping.jaxtyped = where_named
    jaxtyping.install_import_hook(MODULES, "tests.shapes.check")


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have beartype check the shapes that a function names, and leave its other types to mypy."""
    function.__annotations__ = {
        name: hint if _shaped(hint) else Any for name, hint in function.__annotations__.items()
    }
    return beartype(function)


def _names(made: Any) -> bool:
    """Whether a function names a shape, or what makes an object of a class."""
    called = made.__init__ if isinstance(made, type) else made
    return any(map(_shaped, getattr(called, "__annotations__", {}).values()))


def _shaped(hint: Any) -> bool:
    named = isinstance(hint, type) and issubclass(hint, AbstractArray)
    return named or any(map(_shaped, get_args(hint)))
