"""Overrides as typed: read one by one, and refused where Hydra would stumble or run code."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.errors import HydraException

from distillkit.core.errors import ConfigError

LONGEST = 20_000
"""Characters of an override; Hydra's parser takes long over more."""

SHOWN = 200
"""Characters of an override that are repeated where it cannot be read."""

OPTIONAL = {
    "teacher": "teacher",
    "control": "control",
    "dataset@elsewhere": "elsewhere",
    "dataset@dataset_pt": "dataset_pt",
}
"""Groups that may be left out as ``group=null`` or ``~group``, and the fields that they fill."""

RESUME = "resume="
"""How an override begins that names a run directory to go on with."""

HYDRAS = re.compile(r"hydra(/(launcher|sweeper|sweeper/sampler)|\.(launcher|sweeper)(\.\w+)+)")
"""What may be said of Hydra itself: who runs a sweep, and how."""

RUNS_CODE = ("_target_", "custom_search_space", "setup")
"""Fields of launchers and sweepers that name code to be run."""


def conf_folder() -> Path:
    """The committed yaml tree: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parents[1] / "conf"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "conf"


def asks_to_resume(overrides: Sequence[str]) -> bool:
    """Whether one of them names a run directory to go on with."""
    return any(item.startswith(RESUME) for item in overrides)


def read_overrides(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra reads them.

    Raises:
        ConfigError: one cannot be read, or says what none may say.
    """
    read = [_read(item) for item in overrides]
    for item, override in zip(overrides, read, strict=True):
        if override.key_or_group.startswith("hydra"):
            _check_hydra(item, override)
        elif _is_group(override):
            _check_option(item, override)
    return read


def quoted(text: str) -> str:
    """A text as a value that stands for itself, whatever is in it."""
    return QuotedString(text.replace("${", "\\${"), Quote.double).with_quotes()


def for_hydra(overrides: Sequence[str]) -> list[str]:
    """Overrides with ``teacher=null`` as Hydra spells it, which takes no null for a group.

    Raises:
        ConfigError: something else is said of what is left out.
    """
    spelled = list(overrides)
    for group, field in OPTIONAL.items():
        ways = (f"{group}=null", f"~{group}")
        without = [item for item in spelled if item in ways]
        about = re.compile(rf"[+~]*({re.escape(group)}=|{re.escape(field)}\.)")
        vain = [item for item in spelled if about.match(item) and item not in ways]
        if without and vain:
            raise ConfigError(
                f"{vain[0]} has no effect beside {without[0]}. Remove either of the two."
            )
        spelled = [f"~{group}" if item in ways else item for item in spelled]
    return spelled


def unreadable(item: str) -> ConfigError:
    """The error about an override that is none, with the line to type where that can be told."""
    shown = repr(item) if len(item) <= SHOWN else f"{item[:SHOWN]!r}..."
    key, equals, value = item.partition("=")
    line = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
    if equals and value and len(item) <= SHOWN:
        try:
            OverridesParser.create().parse_override(line)
        except HydraException:
            pass
        else:
            return ConfigError(
                f"{shown} cannot be read, for the special characters in it. Quotes must reach "
                f"distillkit through the shell: type {shlex.quote(line)}"
            )
    return ConfigError(f"{shown} cannot be read. Write field=value, as in steps=100.")


def _read(item: str) -> Override:
    if len(item) > LONGEST:
        raise ConfigError(
            f"{item[:60]}... is longer than {LONGEST} characters. Put it into a yaml file of your "
            "own, which --config-dir finds."
        )
    if "\0" in item:
        raise ConfigError(f"{item!r} holds a character that no setting may. Remove it.")
    try:
        return OverridesParser.create().parse_override(item)
    except (HydraException, RecursionError, ValueError, OverflowError) as error:
        raise unreadable(item) from error


def _is_group(override: Override) -> bool:
    group = override.key_or_group
    return bool(group) and "." not in group and (conf_folder() / group).is_dir()


def _check_option(item: str, override: Override) -> None:
    """A group takes the name of an option, or several; a dict fills its fields."""
    value = override.value()
    options = value.list if isinstance(value, ChoiceSweep) else [value]
    named = [
        each for option in options for each in (option if isinstance(option, list) else [option])
    ]
    if override.is_delete() and value in ("", None):
        return
    for name in named:
        text = name.text if isinstance(name, QuotedString) else name
        if text is None and not isinstance(value, list):
            continue
        if isinstance(text, dict) and value is text:
            continue
        if not isinstance(text, str) or "${" in text or not text.strip():
            raise ConfigError(
                f"{item}: a group takes the name of an option, as in divergence=jsd. Choose from "
                f"{', '.join(options_of(override.key_or_group))}."
            )


def options_of(group: str) -> list[str]:
    """Names of the committed options of a group."""
    return sorted(file.stem for file in (conf_folder() / group).glob("*.yaml"))


def _check_hydra(item: str, override: Override) -> None:
    key = override.key_or_group
    if not HYDRAS.fullmatch(key) or override.package or override.is_delete():
        raise ConfigError(
            f"{item} is no setting of distillkit. Of Hydra's own, hydra/launcher, hydra/sweeper "
            "and what begins with hydra.launcher. or hydra.sweeper. can be set, for a sweep."
        )
    named = [word for word in RUNS_CODE if word in re.split(r"\W+", item)]
    if named:
        raise ConfigError(
            f"{item}: {named[0]} names code that would be run. Choose who runs a sweep with "
            "hydra/launcher=... and hydra/sweeper=..."
        )
