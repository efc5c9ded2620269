"""Jinja templates from files of others: rendered in a sandbox, within limits, the same every day.

A chat template sees what transformers would show it (``transformers.utils.chat_template_utils``),
save that its clock stands still.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, update_wrapper
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from distillkit.core.errors import DistillkitError
from distillkit.core.limits import (
    CALL,
    METER,
    Counted,
    LimitError,
    Meter,
    check_format,
    check_method,
    check_operator,
    concatenate,
    guarded,
    join_values,
    shown,
    weight_of,
)

TODAY = datetime(2025, 1, 1)
"""What ``strftime_now`` tells, so that the same command gives the same ids on any day."""

SOURCE = 500_000
"""Most characters of a template."""


class RenderingError(DistillkitError):
    """A template that cannot be read or rendered; the message ends a sentence about it.

    Attributes:
        line: where it cannot be read; None where it was read and could not be rendered.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class _Measured(NodeTransformer):
    """Has loops counted and joined texts measured."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.Tuple(node.nodes, "load", lineno=node.lineno), "_joined")


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Limited(SandboxedEnvironment):
    """A sandbox in which everything that may grow is measured."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    concat = staticmethod(concatenate)

    def __init__(self, **options: Any) -> None:
        # What is folded while a template is read would be made before anything is measured.
        super().__init__(
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=shown,
            **options,
        )
        self.filters = {name: _measured(name, each) for name, each in self.filters.items()}
        self.filters |= {"random": _random, "_counted": Counted, "_joined": join_values}
        self.globals["lipsum"] = _random

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = _Measured().visit(super()._parse(source, name, filename))
        assert isinstance(tree, nodes.Template)
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        found = super().wrap_str_format(value)
        if found is None:
            return None

        def wrapper(*given: Any, **named: Any) -> str:
            check_format(value.__self__, *given, named)
            return found(*given, **named)

        return update_wrapper(wrapper, found)

    def call(self, context: Context, obj: Any, /, *given: Any, **named: Any) -> Any:
        METER.get().spend(CALL)
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            given = check_method(owner, obj.__name__, given)
        elif isinstance(obj, LoopContext) and given:
            given = (Counted(given[0]), *given[1:])
        return super().call(context, obj, *given, **named)


class _Unchanging(ImmutableSandboxedEnvironment, _Limited):
    """The same, in which no list that is given can be changed."""


def _measured(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    skip = int(hasattr(filter_, "jinja_pass_arg"))
    return update_wrapper(guarded(name, filter_, skip=skip), filter_)


def _random(*_: Any, **__: Any) -> None:
    raise TemplateError("it draws at random, so that no run could be repeated")


class _Generation(Extension):
    """``{% generation %}``, which marks what an assistant says, and changes nothing."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller: Callable[[], str]) -> str:
        return caller()


class _Values(Namespace):
    """``namespace()``, which keeps nothing under a private name."""

    def __init__(*arguments: Any, **values: Any) -> None:
        self, *given = arguments
        found = dict(*given, **values)
        for name in found:
            _check_public(name)
        Namespace.__init__(self, found)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        super().__setitem__(name, value)


def _check_public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise TemplateError(f"a namespace cannot hold the private name {name}")


class _Dictionary:
    """``dict()``, without the type."""

    def __call__(self, *given: Any, **named: Any) -> dict[Any, Any]:
        return dict(*given, **named)

    def fromkeys(self, *given: Any) -> dict[Any, Any]:
        """``dict.fromkeys``."""
        return dict.fromkeys(*given)


def _to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, **named: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **named)


def _refuse(message: Any) -> None:
    raise TemplateError(message)


@lru_cache
def _chat_environment() -> _Limited:
    found = _Unchanging(extensions=[_Generation, loopcontrols])
    found.filters["tojson"] = _measured("tojson", _to_json)
    found.globals |= {
        "raise_exception": _refuse,
        "dict": _Dictionary(),
        "namespace": _Values,
    }
    return found


@lru_cache
def _strict_environment() -> _Limited:
    return _Limited(undefined=StrictUndefined)


def render_chat(
    source: str,
    messages: list[dict[str, str]],
    values: Mapping[str, Any],
    *,
    today: datetime = TODAY,
) -> str:
    """A chat template's text, as transformers would render it on the day given.

    Args:
        source: the template.
        messages: with ``role`` and ``content``.
        values: other variables of the template.
        today: what ``strftime_now`` tells.

    Raises:
        RenderingError: it cannot be read, refuses the messages, fails, or asks for too much.
    """
    given = {"messages": messages, "tools": None, "documents": None}
    return _rendered(_chat_environment, source, {**given, "strftime_now": today.strftime, **values})


def render_strict(source: str, values: Mapping[str, Any]) -> str:
    """A template's text; what is not given may not be used.

    Raises:
        RenderingError: as in :func:`render_chat`.
    """
    return _rendered(_strict_environment, source, values)


def variables_of(source: str) -> set[str]:
    """Names that a template uses and does not set.

    Raises:
        RenderingError: it cannot be read.
    """
    try:
        _check_source(source)
        return find_undeclared_variables(_chat_environment().parse(source))
    except Exception as error:
        raise _said(error) from error


def _rendered(environment: Callable[[], _Limited], source: str, values: Mapping[str, Any]) -> str:
    token = METER.set(meter := Meter(weight_of(values.values())))
    try:
        template = _template(environment, source)
        pieces, room = [], meter.longest
        for piece in template.root_render_func(template.new_context(dict(values))):
            pieces.append(piece)
            room -= len(piece)
            meter.fit(len(piece) if room >= 0 else meter.longest - room)
        return "".join(pieces)
    except Exception as error:
        # A template is a stranger's program: it may end in any error.
        raise _said(error) from error
    finally:
        METER.reset(token)


@lru_cache
def _template(environment: Callable[[], _Limited], source: str) -> Template:
    _check_source(source)
    return environment().from_string(source)


def _check_source(source: str) -> None:
    if len(source) > SOURCE:
        raise LimitError(f"it has {len(source):,} characters")


def _said(error: Exception) -> RenderingError:
    first = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, TemplateSyntaxError):
        return RenderingError(f"line {error.lineno}: {error.message}", line=error.lineno)
    if isinstance(error, RecursionError):
        return RenderingError("it calls itself without end")
    if isinstance(error, LimitError | TemplateError) and first:
        return RenderingError(first[:200])
    return RenderingError(f"{type(error).__name__}: {first}"[:200])
