"""The user's own yaml files, which may be a stranger's: they fill fields, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from distillkit.compose.plain_yaml import read_plain
from distillkit.core.errors import ConfigError

CHOICE = re.compile(r"(override )?/?hydra/(launcher|sweeper)")
"""What a defaults list may say of Hydra itself."""


class OwnFiles(FileConfigSource):  # type: ignore[misc]
    """Hydra's reader of a folder, for files that are not trusted.

    No file may name code (``_target_``) or speak of Hydra itself, save which installed launcher or
    sweeper is used and the numbers that it takes.
    """

    @staticmethod
    def scheme() -> str:
        """How the search path names such a folder."""
        return "own"

    def load_config(self, config_path: str) -> ConfigResult:
        """The fields of one file.

        Raises:
            ConfigError: it cannot be read, or says what no file may say.
        """
        file = Path(self.path, self._normalize_file_name(config_path))
        try:
            text, values = read_plain(file, loader=get_yaml_loader())
        except ConfigError as error:
            raise ConfigError(f"{error} Mend it, or take it out of the folder.") from error
        header = self._get_header_dict(text[:512])
        _check(file, values, header.get("package") or "")
        where = f"{self.scheme()}://{self.path}"
        config = OmegaConf.create(values)
        return ConfigResult(config=config, path=where, provider=self.provider, header=header)

    def is_group(self, config_path: str) -> bool:
        """Whether it is a folder of options, of distillkit's groups alone."""
        return not _hydras(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Whether it is an option, of distillkit's groups alone."""
        return not _hydras(config_path) and super().is_config(config_path)


def existing(folder: Path) -> Path:
    """The folder of ``--config-dir``.

    Raises:
        ConfigError: it is none, or cannot be listed.
    """
    try:
        if folder.is_dir() and next(folder.iterdir(), folder):
            return folder.resolve()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--config-dir {folder} cannot be read ({error}). Give one that can."
        ) from error
    raise ConfigError(f"--config-dir {folder} is not a folder. Give one that holds yaml files.")


def _check(file: Path, values: dict[str, Any], package: str) -> None:
    for key in _keys(values):
        if key in ("_target_", "custom_search_space"):
            raise ConfigError(
                f"{file}: {key} names code that would be run, and a file may fill fields alone. "
                "Remove it."
            )
    defaults = values.get("defaults")
    entries = list(_entries(defaults)) if isinstance(defaults, list) else []
    spoken = _hydras(package) or any(_hydras(entry) for entry in entries)
    if spoken or not _numbers_alone(values.get("hydra", {})):
        raise ConfigError(
            f"{file} speaks of hydra, of which a file may say who runs a sweep (override "
            "/hydra/launcher, /hydra/sweeper) and numbers under hydra.launcher and "
            "hydra.sweeper. Remove the rest, or type it on the command line."
        )


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _entries(defaults: list[Any]) -> Iterator[str]:
    """The entries of a defaults list but for the choices of who runs a sweep."""
    for entry in defaults:
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        for key, option in entry.items():
            if not CHOICE.fullmatch(str(key)) or not isinstance(option, str):
                yield f"{key}"
                yield f"{option}"


def _hydras(text: str) -> bool:
    """Whether a group, file or package is one of Hydra's own."""
    return "hydra" in re.split(r"[^\w]+", text)


def _numbers_alone(hydra: Any) -> bool:
    if not isinstance(hydra, dict) or not set(hydra) <= {"launcher", "sweeper"}:
        return False
    return all(
        isinstance(fields, dict)
        and all(value is None or isinstance(value, bool | int | float) for value in fields.values())
        for fields in hydra.values()
    )
