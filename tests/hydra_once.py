"""What Hydra reads and copies anew for every composition, read and copied once for all tests.

A composition takes half the time so, and gives the same. Forked and started processes compose as
users do.
"""

import copy
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_store import ConfigStore
from hydra.plugins.config_source import ConfigResult

from distillkit.compose import conf_folder


def compose_quickly() -> None:
    """Keep the store's schemas and the committed yaml files as they were first read."""
    filed: dict[tuple[Any, ...], Any] = {}
    store, load = ConfigStore.store, FileConfigSource.load_config
    committed = conf_folder().resolve()

    def store_once(self: ConfigStore, name: str, node: Any, **place: Any) -> None:
        key = (name, *place.items())
        if filed.get(key) is not node:
            store(self, name, node, **place)
            filed[key] = node

    @cache
    def load_once(path: str, config_path: str, provider: str) -> ConfigResult:
        return load(FileConfigSource(provider, path), config_path)

    def load_committed(self: FileConfigSource, config_path: str) -> ConfigResult:
        if Path(self.path).resolve() != committed:
            return load(self, config_path)
        return copy.deepcopy(load_once(self.path, config_path, self.provider))

    ConfigStore.store = store_once
    # Hydra copies what it takes out of the store, so that the store itself need not be copied.
    ConfigStore.__deepcopy__ = lambda self, memo: self
    FileConfigSource.load_config = load_committed
