"""Overrides to a run object: the only module that imports Hydra."""

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

import distillkit.run  # noqa: F401  (files the specs of the verbs)
from distillkit.core.errors import ConfigError, DistillkitError, RunError
from distillkit.core.fingerprint import fingerprint_of
from distillkit.core.spec import discover

OPTIONAL = {
    "teacher": "teacher",
    "dataset@elsewhere": "elsewhere",
    "dataset@dataset_pt": "dataset_pt",
}
"""Groups that may be left out as ``group=null`` or ``~group``, and the fields that they fill."""

SHOW = "distillkit show"

UNFIT = re.compile(r"In 'schema/(.+)/(.+?)'.* is not a subclass of (\w+)", re.DOTALL)
"""Hydra's words for an option whose class is none that the field takes."""

# ${or:${beta},0.5} is the shorthand where it is given, else the component's own default.
OmegaConf.register_new_resolver(
    "or", lambda given, default: default if given is None else given, replace=True
)
# ${pick:${objective.variant},{paper:1.0,reference:0.95}} follows another field unless given.
OmegaConf.register_new_resolver("pick", lambda key, table: table[key], replace=True)


def conf_folder() -> Path:
    """The committed yaml tree: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "conf"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "conf"


@dataclass(frozen=True, slots=True)
class Composed:
    """A run as asked for.

    Attributes:
        run: the spec tree.
        config: the same as plain resolved values.
        overrides: as typed.
        fingerprint: 16 hex digits of all that may change a result.
    """

    run: Any
    config: dict[str, Any]
    overrides: list[str]
    fingerprint: str

    def yaml(self) -> str:
        """The resolved configuration, as ``show`` prints it and run.yaml keeps it."""
        return yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)


def compose(verb: str, overrides: Sequence[str], *, config_dir: Path | None = None) -> Composed:
    """Compose conf/<verb>.yaml with overrides.

    Args:
        verb: ``train``, ``eval`` or ``undo``.
        overrides: Hydra overrides as typed.
        config_dir: a folder of the user's own yaml files, searched too.

    Raises:
        ConfigError: a key, value or combination that cannot be run.
    """
    register()
    if config_dir:
        # Kept with the other overrides, so that the run can be reopened.
        overrides = [*overrides, f'hydra.searchpath=["file://{_existing(config_dir)}"]']
    see = SHOW if verb == "train" else f"{SHOW} --verb {verb}"
    with _one_sentence(overrides, see):
        return from_config(_composed(verb, overrides), overrides, see=see)


def from_config(config: DictConfig, overrides: Sequence[str], *, see: str = SHOW) -> Composed:
    """The run object of a composed configuration; ``see`` prints its fields."""
    with _one_sentence(overrides, see):
        plain = OmegaConf.to_container(
            config, resolve=True, throw_on_missing=True, enum_to_str=True
        )
        run = OmegaConf.to_object(config)
        assert isinstance(plain, dict)
        kept = {str(key): value for key, value in plain.items()}
        return Composed(run, kept, list(overrides), fingerprint_of(run, kept))


def reopen(folder: Path) -> Composed:
    """The run of a run directory: its overrides composed, its run.yaml laid over.

    Raises:
        RunError: the folder is no run directory.
    """
    try:
        overrides = yaml.safe_load((folder / "overrides.yaml").read_text(encoding="utf-8"))
        values = OmegaConf.load(folder / "run.yaml")
    except OSError as error:
        raise RunError(
            f"run={folder} is not a run directory ({Path(error.filename).name} is missing). "
            "Give the folder that distillkit train printed."
        ) from error
    except yaml.YAMLError as error:
        where = re.sub(r"\s+", " ", str(error))
        raise RunError(
            f"run={folder} is damaged ({where}). Run it again under another name."
        ) from error
    return recompose(overrides, values)


def recompose(overrides: Sequence[str], values: Any) -> Composed:
    """The training of overrides that choose the groups, with all values laid over."""
    register()
    with _one_sentence(overrides):
        config = _composed("train", overrides)
        config.merge_with(values)
        return from_config(config, overrides)


def _composed(verb: str, overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        return hydra.compose(verb, overrides=_for_hydra(overrides))


def multirun(verb: str, overrides: Sequence[str], job: Callable[[DictConfig], Any]) -> None:
    """Hand the grid to Hydra's multirun; ``job`` is a module-level function, called for each cell.

    Raises:
        ConfigError: the grid cannot be composed.
    """
    register()
    # Hydra reads the command line itself, and launchers need its own entry point.
    sys.argv = ["distillkit", "--multirun", *_for_hydra(overrides)]
    logging.getLogger("hydra").setLevel(logging.ERROR)
    folder = str(conf_folder().resolve())
    with _one_sentence(overrides):
        hydra.main(version_base="1.3", config_path=folder, config_name=verb)(job)()


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a multirun: number, overrides, the user's search path, the sweep's folder."""

    number: int
    overrides: list[str]
    search: list[str]
    folder: Path


def current_cell() -> Cell:
    """The cell that this process was called for, on whatever machine the launcher put it."""
    hydra_config = HydraConfig.get()
    asked = hydra_config.overrides
    search = [item for item in asked.hydra if item.startswith("hydra.searchpath=")]
    return Cell(hydra_config.job.num, list(asked.task), search, Path(hydra_config.sweep.dir))


def register() -> None:
    """Put every spec into Hydra's ConfigStore as ``schema/<path>``."""
    store = ConfigStore.instance()
    for path, cls in discover().items():
        group, _, name = f"schema/{path}".rpartition("/")
        store.store(group=group, name=name, node=cls)


def _for_hydra(overrides: Sequence[str]) -> list[str]:
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


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {folder} is not a folder. Give one that holds yaml files.")
    return folder.resolve()


@contextmanager
def _one_sentence(overrides: Sequence[str], see: str = SHOW) -> Iterator[None]:
    """Hydra's and OmegaConf's errors as one sentence that names the field."""
    try:
        yield
    except DistillkitError:
        raise
    except MissingMandatoryValue as error:
        raise ConfigError(f"{_key(error)} is required. Give it as {_key(error)}=...") from error
    except OmegaConfBaseException as error:
        raise _reworded(error, see) from error
    except AttributeError as error:
        # Slots refuse what +key=value added to a spec.
        added = [item for item in overrides if item.startswith("+")]
        if not added:
            raise
        raise ConfigError(
            f"{' '.join(added)}: {error}, and no field can be added. Remove it, or see the fields "
            f"with {see}."
        ) from error
    except HydraException as error:
        raise _reworded_hydra(error, see) from error
    except yaml.YAMLError as error:
        where = re.sub(r"\s+", " ", str(error))
        raise ConfigError(f"a yaml file cannot be read ({where}). Mend it.") from error
    except AssertionError as error:
        # OmegaConf's, for a field of a group that is null.
        if "Unexpected type for root" not in str(error):
            raise
        raise ConfigError(
            f"{' '.join(overrides)}: one of these sets a field of a group that is null here, as "
            "the teacher of SFT may be. Remove it, or choose an option of that group."
        ) from error
    except ValueError as error:
        # Hydra's bare one for a group set to null or to a number.
        if not str(error).startswith("Config group override"):
            raise
        raise ConfigError(
            f"{' '.join(overrides)}: a group takes the name of an option, as in divergence=jsd "
            f"({error})."
        ) from error


def _key(error: OmegaConfBaseException) -> str:
    return str(getattr(error, "full_key", None) or "a value")


def _reworded_hydra(error: HydraException, see: str) -> ConfigError:
    if isinstance(error.__cause__, OmegaConfBaseException):
        return _reworded(error.__cause__, see)
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"{error.override!r} cannot be read. Write field=value, and put quotes around a value "
            "with special characters."
        )
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        # Hydra does not list the options of a group that takes several.
        there = sorted(file.stem for file in (conf_folder() / group).glob("*.yaml"))
        options = error.options or there
        if group and options:
            return ConfigError(
                f"{group}={name}: there is no such option. Choose from {', '.join(options)}."
            )
    if unfit := UNFIT.search(str(error)):
        group, name, needed = unfit.groups()
        return ConfigError(
            f"{group}={name} is of no use here, where {group} must be a {needed}. "
            f"Choose another {group}."
        )
    # What follows is Hydra's search path: of use to Hydra's authors alone.
    useful = str(error).split("Config search path:")[0]
    sentence = re.sub(r"\s+", " ", useful).strip().removesuffix(".")
    return ConfigError(f"{sentence}. See the fields with {see}.")


def _reworded(error: OmegaConfBaseException, see: str) -> ConfigError:
    cause = error.__cause__
    if isinstance(cause, DistillkitError):
        return ConfigError(str(cause))
    first = re.sub(r"\s+", " ", str(error).splitlines()[0])
    return ConfigError(f"{_key(error)}: {first}. See the fields with {see}.")
