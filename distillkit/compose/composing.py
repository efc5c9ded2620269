"""Overrides to a run object."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf, open_dict

import distillkit.run
import distillkit.run_drafts
import distillkit.run_studies  # noqa: F401  (they file the specs of the verbs)
from distillkit.compose.environment import reading_environment
from distillkit.compose.options import Options, options_of, with_options
from distillkit.compose.own_files import OwnFiles, existing
from distillkit.compose.plugins import load_plugins, store_plugged
from distillkit.compose.trust import check_typed, check_values
from distillkit.compose.typed import conf_folder, for_hydra, quoted, read_overrides
from distillkit.compose.wording import SHOW, one_sentence
from distillkit.core.errors import ConfigError
from distillkit.core.fingerprint import fingerprint_of
from distillkit.core.secrets import refuse_secrets
from distillkit.core.spec import discover

# ${or:${beta},0.5} is the shorthand where it is given, else the component's own default.
OmegaConf.register_new_resolver(
    "or", lambda given, default: default if given is None else given, replace=True
)
# ${pick:${objective.variant},{paper:1.0,reference:0.95}} follows another field unless given.
OmegaConf.register_new_resolver("pick", lambda key, table: table[key], replace=True)


@dataclass(frozen=True, slots=True)
class Composed:
    """A run as asked for."""

    run: Any
    """The spec tree."""
    config: dict[str, Any]
    """The same as plain resolved values."""
    overrides: list[str]
    """As typed."""
    fingerprint: str
    """16 hex digits of all that may change a result."""
    picked: Options = field(default_factory=dict)
    """The yaml files that Hydra took for groups, where it composed the run."""

    @property
    def named(self) -> dict[str, Any]:
        """The plain values with the names of the options that they fill."""
        named: dict[str, Any] = with_options(self.run, self.config)
        return named

    def yaml(self) -> str:
        """The resolved configuration with its options, as run.yaml keeps it."""
        return yaml.safe_dump(self.named, sort_keys=False, allow_unicode=True)

    def asked(self) -> dict[str, Any]:
        """What a run directory that is claimed for it keeps of it."""
        return {"fingerprint": self.fingerprint, "config": self.yaml(), "overrides": self.overrides}

    def shown(self) -> str:
        """The same below a comment that names the yaml file which each group was filled from."""
        options = options_of(self.named, self.picked)
        listed = yaml.safe_dump(options, sort_keys=False, allow_unicode=True)
        return f"# Options chosen:\n{indent(listed, '#   ')}\n{self.yaml()}"


def _refuse_placement(overrides: Sequence[str]) -> None:
    """Refuse to deal out what is the work of one process."""
    for item in overrides:
        if item.lstrip("+~").startswith(("placement=", "placement.")):
            raise ConfigError(
                f"{item} has no meaning here: distillkit train alone shares its work among "
                "processes. Remove it."
            )


def compose(
    verb: str,
    overrides: Sequence[str],
    *,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
) -> Composed:
    """Compose conf/<verb>.yaml with overrides.

    Args:
        verb: ``train``, ``eval`` or ``undo``.
        overrides: Hydra overrides as typed.
        config_dir: a folder of the user's own yaml files, searched too.
        plugins: files or modules of the user's own components, imported first.

    Raises:
        ConfigError: a key, value or combination that cannot be run.
    """
    see = SHOW if verb == "train" else f"{SHOW} --verb {verb}"
    with one_sentence(overrides, see), reading_environment(overrides):
        load_plugins(plugins)
        for item in overrides:
            refuse_secrets(item, item)
        read_overrides(overrides)
        if verb != "train":
            _refuse_placement(overrides)
        config, picked = composed_by_hydra(verb, overrides, config_dir)
        composed = from_config(config, overrides, picked=picked)
        check_typed(composed.run, composed.config, overrides)
        return composed


def from_config(
    config: DictConfig, overrides: Sequence[str], *, picked: Options | None = None
) -> Composed:
    """The run object of a composed configuration."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True, enum_to_str=True)
    assert isinstance(plain, dict)
    kept = {str(key): value for key, value in plain.items()}
    check_values(kept)
    run = OmegaConf.to_object(config)
    return Composed(run, kept, list(overrides), fingerprint_of(run, kept), picked or {})


def composed_by_hydra(
    verb: str, overrides: Sequence[str], config_dir: Path | None = None
) -> tuple[DictConfig, Options]:
    """The configuration before anything is resolved, and the options of its groups."""
    with_hydra_in(verb, config_dir)
    config = hydra.compose(
        verb,
        overrides=[*for_hydra(overrides), *searched(config_dir)],
        return_hydra_config=True,
    )
    with open_dict(config):
        choices = config.pop("hydra").runtime.choices
    own = {group: choices[group] for group in choices if not group.startswith("hydra/")}
    # Hydra notes them from the last to the first.
    return config, dict(reversed(own.items()))


def with_hydra_in(verb: str, config_dir: Path | None) -> None:
    """Make Hydra ready to compose conf/<verb>.yaml."""
    register(config_dir)
    GlobalHydra.instance().clear()
    folder = str(conf_folder().resolve())
    hydra.initialize_config_dir(folder, version_base="1.3", job_name=f"distillkit-{verb}")


def searched(config_dir: Path | None) -> list[str]:
    """The override by which Hydra searches the user's own folder too."""
    if config_dir is None:
        return []
    place = quoted(f"{OwnFiles.scheme()}://{existing(config_dir)}")
    return [f"hydra.searchpath=[{place}]"]


def register(config_dir: Path | None) -> None:
    """Put every spec into Hydra's ConfigStore as ``schema/<path>``, and our reader of files."""
    store = ConfigStore.instance()
    for path, cls in discover().items():
        group, _, name = f"schema/{path}".rpartition("/")
        store.store(group=group, name=name, node=cls)
    store_plugged(store, config_dir and existing(config_dir))
    Plugins.instance().register(OwnFiles)
