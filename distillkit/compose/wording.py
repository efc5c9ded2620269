"""Hydra's and OmegaConf's errors as one sentence that names the field."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from distillkit.compose.typed import options_of, unreadable
from distillkit.core.errors import ConfigError, DistillkitError, Interrupted, is_full
from distillkit.core.secrets import hidden

SHOW = "distillkit show"

UNFIT = re.compile(r"In 'schema/(.+)/(.+?)'.* is not a subclass of (\w+)", re.DOTALL)
"""Hydra's words for an option whose class is none that the field takes."""

LONGEST = 1200
"""Characters of a sentence; what a user typed may be of any length."""


@contextmanager
def one_sentence(overrides: Sequence[str], see: str = SHOW) -> Iterator[None]:
    """Turn whatever composing raises into one sentence, in which no secret stands.

    Args:
        overrides: as typed, to name them where an error does not say which it is about.
        see: the command that prints the fields.

    Raises:
        DistillkitError: anything was wrong.
    """
    try:
        yield
    except Interrupted:
        raise
    except DistillkitError as error:
        raise type(error)(_tidy(str(error))) from error
    except Exception as error:
        # Hydra and OmegaConf answer what they did not expect with errors of any kind.
        if is_full(error):
            raise
        raise ConfigError(_tidy(str(_reworded(error, overrides, see)))) from error


def _reworded(error: Exception, overrides: Sequence[str], see: str) -> DistillkitError:
    typed = " ".join(overrides)
    if (own := _own(error)) is not None:
        return own
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(f"{_key(error)} is required. Give it as {_key(error)}=...")
    if isinstance(error, OmegaConfBaseException):
        return _of_omegaconf(error, see)
    if isinstance(error, HydraException):
        return _of_hydra(error, see)
    if isinstance(error, yaml.YAMLError):
        return ConfigError(f"a yaml file cannot be read ({error}). Mend it.")
    added = [item for item in overrides if item.startswith("+")]
    if isinstance(error, AttributeError) and added:
        # Slots refuse what +key=value added to a spec.
        return ConfigError(
            f"{' '.join(added)}: {error}, and no field can be added. Remove it, or see the fields "
            f"with {see}."
        )
    if isinstance(error, AssertionError) and "Unexpected type for root" in str(error):
        # OmegaConf's, for a field of a group that is null.
        return ConfigError(
            f"{typed}: one of these sets a field of a group that is null here, as the teacher of "
            "SFT may be. Remove it, or choose an option of that group."
        )
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        # Hydra's bare one for a group set to null or to a number.
        return ConfigError(
            f"{typed}: a group takes the name of an option, as in divergence=jsd ({error})."
        )
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    return ConfigError(
        f"{typed or 'the configuration'} cannot be composed ({what}). See the fields with {see}."
    )


def _tidy(sentence: str) -> str:
    """One printable line of bounded length without secrets."""
    line = re.sub(r"\s+", " ", hidden(sentence)).strip()
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"


def _own(error: BaseException | None) -> DistillkitError | None:
    """The sentence of distillkit's own behind an error, which a resolver or a spec raised."""
    while error is not None and not isinstance(error, DistillkitError):
        error = error.__cause__ or error.__context__
    return error


def _key(error: OmegaConfBaseException) -> str:
    return str(getattr(error, "full_key", None) or "a value")


def _of_hydra(error: HydraException, see: str) -> DistillkitError:
    if isinstance(error.__cause__, OmegaConfBaseException):
        return _of_omegaconf(error.__cause__, see)
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        # Hydra does not list the options of a group that takes several.
        options = error.options or options_of(group)
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
    useful = re.split(r"(?:Config s|\nS)earch path:", str(error))[0]
    return ConfigError(f"{useful.strip().removesuffix('.')}. See the fields with {see}.")


def _of_omegaconf(error: OmegaConfBaseException, see: str) -> DistillkitError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigError(f"{_key(error)}: {first.removesuffix('.')}. See the fields with {see}.")
