"""A function of the user's own package as a reward."""

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.types import Answer
from distillkit.datasets.base import Dataset
from distillkit.rewards.base import Judge, Reward, finite

ARGUMENTS = ("prompts", "responses", "references", "answers")


@spec("reward/python")
class PythonFunction(Reward):
    """Calls ``function(prompts=, responses=, references=, answers=)`` for one number each.

    All four are lists of texts of one length. The messages of a prompt are joined by empty lines;
    a reference or an answer that is not known is "". A function that does not take these names, of
    which it may leave all but ``responses`` to a ``**rest``, is refused, so that a yaml from a
    stranger cannot call just anything that is installed.

    The module must be importable as it is: distillkit does not search the folder that one stands
    in, as a file that happens to lie there would be run. Install the package (``pip install -e .``)
    or name its folder in PYTHONPATH.
    """

    function: str
    """``package.module:name``; importing it runs that module's code."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", self.function):
            raise self._error("is not of the form package.module:name", "Name a function so")

    def judge(self, dataset: Dataset, *, device: torch.device) -> Judge:
        function = self._imported()

        def rewards(answers: Sequence[Answer]) -> list[float]:
            found = function(
                prompts=["\n\n".join(turn.content for turn in a.example.prompt) for a in answers],
                responses=[answer.text for answer in answers],
                references=[answer.example.reference for answer in answers],
                answers=[answer.example.answer for answer in answers],
            )
            return finite(
                self._numbers(found, len(answers)),
                answers,
                source=f"reward.function={self.function}",
            )

        return rewards

    def _imported(self) -> Callable[..., Any]:
        place, _, name = self.function.partition(":")
        try:
            found = getattr(importlib.import_module(place), name, None)
        except (ImportError, SyntaxError) as error:
            raise self._error(
                f"cannot be imported ({error})",
                "Install its package, or name its folder as in PYTHONPATH=. distillkit ...",
            ) from error
        if not callable(found):
            raise self._error(f"is no function of the module {place}", "Name one that it has")
        try:
            taken = inspect.signature(found)
            taken.bind(**dict.fromkeys(ARGUMENTS))
            if "responses" not in taken.parameters:
                raise TypeError("it has no parameter 'responses'")
        except (TypeError, ValueError) as error:
            raise self._error(
                f"does not fit ({error})", f"Its parameters must be {', '.join(ARGUMENTS)}"
            ) from error
        return found

    def _numbers(self, found: Any, wanted: int) -> list[float]:
        try:
            values = [float(value) for value in found]
        except (TypeError, ValueError, RuntimeError) as error:
            raise self._error(
                f"gave what is no list of numbers ({error})", "Return one for each response"
            ) from error
        if len(values) != wanted:
            raise self._error(
                f"gave {len(values)} numbers for {wanted} responses", "Return one for each"
            )
        return values

    def _error(self, complaint: str, way_out: str) -> ConfigError:
        return ConfigError(f"reward.function={self.function} {complaint}. {way_out}.")
