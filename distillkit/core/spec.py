"""Specs: dataclasses that are both the schema of a yaml and the component it describes."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T", bound=type)

SPECS: dict[str, type] = {}
"""Path of the yaml under conf/, without its ending, to the class that it fills."""

ORIGINS: dict[type, str] = {}
"""Classes that came from outside the package, with the digest of the file they came in."""

COMPONENTS = (
    "distillkit.datasets",
    "distillkit.distributed.settings",
    "distillkit.divergences",
    "distillkit.metrics",
    "distillkit.models.pretrained",
    "distillkit.objectives",
    "distillkit.online.streams",
    "distillkit.opinions.cached",
    "distillkit.opinions.several",
    "distillkit.opinions.served.settings",
    "distillkit.policies",
    "distillkit.rewards",
    "distillkit.supports",
    "distillkit.lessons",
    "distillkit.training.control",
    "distillkit.training.tracker",
    "distillkit.training.weights_and_biases",
    "distillkit.writers.base",
    "distillkit.writers.served",
)
"""Packages whose every module may hold specs, and the modules that do among machinery.

All are imported for every composing, so they load what is slow to load where they use it.
"""


@dataclass_transform(kw_only_default=True)
def spec(path: str) -> Callable[[T], T]:
    """Make a class a keyword-only slotted dataclass and file it under ``path``.

    Slots are what makes ``+made.up=1`` fail instead of being carried along unread.
    """

    def register(cls: T) -> T:
        slotted: T = dataclass(kw_only=True, slots=True)(cls)  # type: ignore[assignment]
        SPECS[path] = slotted
        return slotted

    return register


def discover() -> dict[str, type]:
    """Import every component module, so that all specs are filed, and return them."""
    for name in COMPONENTS:
        discover_in(name)
    return SPECS


def discover_in(name: str) -> None:
    """Import a module, or every module of a package, so that its specs are filed."""
    found = importlib.import_module(name)
    for module in pkgutil.iter_modules(getattr(found, "__path__", ()), f"{name}."):
        importlib.import_module(module.name)


def name_of(component: object) -> str:
    """Name of a component's yaml, without its folder: ``jsd`` for ``divergence/jsd``."""
    paths = {cls: path for path, cls in SPECS.items()}
    return paths[type(component)].rsplit("/", 1)[-1]
