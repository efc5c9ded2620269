"""Components of the user's own: files or modules typed as ``--plugin``, imported then alone."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, fields
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from distillkit.compose.typed import conf_folder
from distillkit.core.errors import ConfigError
from distillkit.core.spec import ORIGINS, SPECS, discover

SHARED = ("divergence", "support", "reward")
"""Groups that an objective reads by fields of these names."""

_FILED: dict[str, dict[str, type]] = {}
"""What each plugged module has filed: Python runs a module once."""

_STORED: list[str] = []
"""Options made of classes, which Hydra's store keeps until they are taken out."""


def load_plugins(plugins: Sequence[str]) -> None:
    """Import what was typed, so that its specs are filed.

    A component needs no yaml: one under its group in ``--config-dir`` is used where there is one,
    else its option is made of the class and its defaults.

    Raises:
        ConfigError: one cannot be imported, files nothing, or takes a name that is taken.
    """
    for plugin in plugins:
        discover()
        before = dict(SPECS)
        try:
            module = _imported(plugin)
        except (Exception, SystemExit) as error:
            # The user's own code may fail in any way.
            _set_specs(before)
            raise ConfigError(
                f"--plugin {plugin} cannot be imported ({type(error).__name__}: {error}). Give a "
                "Python file, or a module that Python finds."
            ) from error
        _file(plugin, module, before)


def store_plugged(store: ConfigStore, config_dir: Path | None) -> None:
    """Make an option of every plugged component that has no yaml."""
    while _STORED:
        group, _, name = _STORED.pop().rpartition("/")
        store.repo[group].pop(f"{name}.yaml", None)
    for path, cls in SPECS.items():
        group, _, name = path.rpartition("/")
        own = config_dir is not None and (config_dir / f"{path}.yaml").is_file()
        if cls not in ORIGINS or own or (conf_folder() / f"{path}.yaml").is_file():
            continue
        _STORED.append(path)
        node = OmegaConf.structured(cls)
        for field in fields(cls):
            if field.name in SHARED and _is_missing(field):
                node[field.name] = f"${{{field.name}}}"
        package = f"metric.{name}" if group == "metric" else None
        store.store(group=group, name=name, node=node, package=package)


def _imported(plugin: str) -> ModuleType:
    file = Path(plugin)
    if file.suffix != ".py":
        return importlib.import_module(plugin)
    content = file.read_bytes()
    name = f"distillkit_plugin_{sha256(str(file.resolve()).encode() + content).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    described = importlib.util.spec_from_file_location(name, file)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    # Pickled specs are found by their module's name.
    sys.modules[name] = module
    try:
        described.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _file(plugin: str, module: ModuleType, before: dict[str, type]) -> None:
    """Take what a module has filed, the first time or again."""
    found = {path: cls for path, cls in SPECS.items() if cls is not before.get(path)}
    found = _FILED.get(module.__name__, {}) | found
    taken = [path for path, cls in before.items() if path in found and cls not in ORIGINS]
    groups = {path.rpartition("/")[0] for path in before} - {""}
    strange = [path for path in found if path.rpartition("/")[0] not in groups]
    refusal = None
    if taken:
        refusal = f"takes the name {taken[0]}, which is distillkit's own. Choose another"
    elif strange:
        refusal = f"files {strange[0]}, which is in no group of distillkit. Choose one"
    elif not found:
        refusal = "brings no component. Register one"
    if refusal:
        _set_specs(before)
        raise ConfigError(f'--plugin {plugin} {refusal}, as in @spec("divergence/mine").')
    source = Path(module.__file__ or "")
    digest = sha256(source.read_bytes()).hexdigest()[:16] if source.is_file() else ""
    ORIGINS.update(dict.fromkeys(found.values(), digest))
    _FILED[module.__name__] = found
    SPECS.update(found)


def _set_specs(specs: dict[str, type]) -> None:
    SPECS.clear()
    SPECS.update(specs)


def _is_missing(field: Field[Any]) -> bool:
    return field.default is NO_DEFAULT or field.default == MISSING
