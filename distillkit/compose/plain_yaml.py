"""Yaml files that others may have written: plain values of a bounded size, or one sentence."""

import re
from pathlib import Path
from typing import Any

import yaml

from distillkit.core.errors import ConfigError

LARGEST = 256 * 1024
"""Bytes of a file of settings."""
MOST = 20_000
"""Values that a file may unfold to; a few lines of aliases can make billions."""


def read_plain(file: Path, *, loader: Any) -> tuple[str, dict[str, Any]]:
    """The text of a yaml file, and the mapping that it holds.

    Args:
        file: what to read.
        loader: OmegaConf's for what people write, yaml's safe one for what yaml has written: they
            differ in what they take for a number.

    Raises:
        ConfigError: it cannot be read, is too large, or is no mapping of plain values; the message
            says which, and not the way out.
    """
    text, value = _read(file, loader)
    value = {} if value is None else value
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{file} holds no fields with values.")
    return text, value


def read_texts(file: Path) -> list[str]:
    """The texts that a yaml file lists; raises as :func:`read_plain`."""
    _, value = _read(file, yaml.SafeLoader)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"{file} is no list of texts.")
    return value


def _read(file: Path, loader: Any) -> tuple[str, Any]:
    try:
        if not file.is_file():
            raise ConfigError(f"{file} is no file.")
        if file.stat().st_size > LARGEST:
            raise ConfigError(f"{file} is larger than {LARGEST // 1024} KiB.")
        text = file.read_text(encoding="utf-8")
        _unfolded(yaml.compose(text, Loader=loader), {})
        return text, yaml.load(text, Loader=loader)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}).") from error
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # A file of others may break yaml's own constructors in many ways.
        where = re.sub(r"\s+", " ", str(error))[:300]
        raise ConfigError(f"{file} cannot be read ({where}).") from error


def _unfolded(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Values that a node stands for, every alias counted as often as it stands there.

    Raises:
        ValueError: they are too many, or without end.
    """
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias in it stands for itself")
        return known[id(node)]
    known[id(node)] = 0
    children = (
        [each for pair in node.value for each in pair]
        if isinstance(node, yaml.MappingNode)
        else node.value
    )
    size = 1 + sum(_unfolded(child, known) for child in children)
    if size > MOST:
        raise ValueError(f"it unfolds to more than {MOST} values")
    known[id(node)] = size
    return size
