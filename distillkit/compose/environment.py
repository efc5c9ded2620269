"""``${oc.env:NAME}``: which variables of the environment a setting may hold."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from omegaconf import OmegaConf

from distillkit.core.errors import ConfigError

HARMLESS = re.compile(
    r"USER|LOGNAME|HOME|PWD|HOSTNAME|SCRATCH|WORK|WORKDIR|TMPDIR|TMP|TEMP|PROJECT|DATA"
    r"|SLURM_\w+|PBS_JOBID|LSB_JOBID|JOB_ID|RANK|LOCAL_RANK|WORLD_SIZE|CUDA_VISIBLE_DEVICES"
)
"""Variables that any yaml may read."""

FORBIDDEN = re.compile(r"key|token|secret|passw|pwd|credential|auth|private|cookie|bearer", re.I)
"""Words in the name of a variable that nothing may read."""

_typed: ContextVar[frozenset[str]] = ContextVar("typed", default=frozenset())


@contextmanager
def reading_environment(overrides: Sequence[str]) -> Iterator[None]:
    """Let ``${oc.env:NAME}`` read harmless variables, and those named by typed overrides."""
    named = re.findall(r"oc\.env\s*:\s*['\"]?(\w+)", " ".join(overrides).replace("\\", ""))
    token = _typed.set(frozenset(named))
    OmegaConf.register_new_resolver("oc.env", _variable, replace=True)
    try:
        yield
    finally:
        _typed.reset(token)


def _variable(name: str, *default: Any) -> Any:
    """The resolver ``oc.env``, with an optional default."""
    if FORBIDDEN.search(name) and name != "PWD":
        raise ConfigError(
            f"${{oc.env:{name}}} would put a key or password into run.yaml. Leave it out; what "
            "needs one reads the variable itself."
        )
    if not HARMLESS.fullmatch(name) and name not in _typed.get():
        raise ConfigError(
            f"${{oc.env:{name}}} stands in a file, which may read USER, HOME, SCRATCH, TMPDIR and "
            "the like alone. Type the setting on the command line."
        )
    if name not in os.environ and not default:
        raise ConfigError(f"${{oc.env:{name}}}: the environment variable {name} is not set.")
    return os.environ.get(name, *default)
