"""``train resume=<run directory> steps=...``: a run as it is, with what is typed laid over."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distillkit.compose import Composed, from_config, reopen
from distillkit.compose.plugins import load_plugins
from distillkit.compose.typed import RESUME
from distillkit.core.errors import ConfigError
from distillkit.core.spec import SPECS
from distillkit.programs.train.continuing import share_of
from distillkit.training.schedule import warm_updates

TRUST = "trust_remote_code=true"


def resumed(overrides: Sequence[str], *, plugins: Sequence[str] = ()) -> Composed:
    """The run of ``resume=`` with the other overrides laid over.

    Its warm-up stays as many updates as it was, unless another one is typed.

    Raises:
        ConfigError: something is typed that a run cannot be resumed with.
        RunError: it is no run directory, or a damaged one.
    """
    load_plugins(plugins)
    typed = [item for item in overrides if not item.startswith(RESUME) and item != TRUST]
    folder = _folder(overrides)
    held = reopen(folder, trusted=TRUST in overrides)
    config = OmegaConf.structured(held.run)
    config.name, config.output = folder.resolve().name, str(folder.parent.parent)
    for item in typed:
        _lay_over(config, item)
    fields = {item.partition("=")[0] for item in typed}
    kept = [item for item in held.overrides if item.partition("=")[0] not in fields]
    warm = warm_updates(held.run.steps, held.run.optimizer)
    if "optimizer.warmup" not in fields and warm != round(config.optimizer.warmup * config.steps):
        config.optimizer.warmup = share_of(warm, config.steps)
    return from_config(config, [*kept, *typed])


def _folder(overrides: Sequence[str]) -> Path:
    given = [item.removeprefix(RESUME) for item in overrides if item.startswith(RESUME)]
    if len(given) > 1:
        raise ConfigError(f"resume= is given {len(given)} times. Give one run directory.")
    folder = Path(given[0].strip("'\""))
    if folder.resolve().parent.name != "train" or (folder.parents[1] / "provenance.json").is_file():
        raise ConfigError(
            f"{RESUME}{given[0]} is no run directory in the folder train of an output folder, or "
            "belongs to undo-iterate. Give one as distillkit train printed it."
        )
    return folder if folder.parent.name == "train" else folder.resolve()


def _lay_over(config: DictConfig, item: str) -> None:
    """Set one field, or the tracker, which is no part of what the run is."""
    field, equals, value = item.partition("=")
    if not equals or field in ("name", "output") or field[:1] in ("+", "~"):
        raise ConfigError(
            f"{item} cannot stand beside resume=, which takes a run where and as it is. Set fields "
            "such as steps=4."
        )
    if field == "tracker":
        config.tracker = OmegaConf.structured(_option(field, value))
        return
    try:
        if isinstance(OmegaConf.select(config, field, throw_on_missing=True), DictConfig):
            raise ConfigError(
                f"{item} chooses another {field}, and resume= takes the run as it is. Begin "
                "another run for it."
            )
        OmegaConf.update(config, field, OmegaConf.from_dotlist([f"value={value}"]).value)
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0].removesuffix(".")
        raise ConfigError(f"{item}: {first}. See the fields with distillkit show.") from error


def _option(group: str, name: str) -> Any:
    found = {path.partition("/")[2]: cls for path, cls in SPECS.items() if path[:8] == f"{group}/"}
    if name not in found:
        raise ConfigError(f"{group}={name}: choose from {', '.join(sorted(found))}.")
    return found[name]
