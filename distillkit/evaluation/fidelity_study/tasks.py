"""The 14 tasks of arXiv:2505.15442, and which of them have rows in a folder of local data."""

from collections.abc import Sequence
from pathlib import Path

from distillkit.core.errors import ConfigError
from distillkit.evaluation.harness.files import FOLDERS, local_names

PAPER: dict[str, str] = {
    "AQuA": "aqua",
    "AddSub": "addsub",
    "GSM8K": "gsm8k_zeroshot",
    "MultiArith": "multiarith",
    "SVAMP": "svamp",
    "SingleEq": "singleeq",
    "ARC-c": "arc_challenge",
    "ARC-e": "arc_easy",
    "BoolQ": "boolq",
    "HellaSwag": "hellaswag",
    "OBQA": "openbookqa",
    "PIQA": "piqa",
    "SIQA": "siqa",
    "WinoGrande": "winogrande",
}
"""Names of the paper to those of ``metric.lm_eval.tasks``; the first six are mathematics."""


def at_hand(data: str | None, asked: Sequence[str] | None) -> list[str]:
    """The benchmarks that are measured: those asked for, or all of the paper with rows.

    Args:
        data: folder with a folder of JSON lines for each task; None for none.
        asked: names of ``metric.lm_eval.tasks``; None for all that can be.

    Raises:
        ConfigError: one is asked for that the paper has not, or that has no rows.
    """
    if data is not None and not Path(data).is_dir():
        raise ConfigError(
            f"data={data} is no folder. Give one that holds a folder for each task, or null."
        )
    found = [] if data is None else local_names(Path(data))
    known = list(PAPER.values())
    for name in asked or ():
        if name not in known:
            raise ConfigError(
                f"benchmarks has {name}, which is no task of the paper. Choose from "
                f"{', '.join(known)}."
            )
        place = FOLDERS.get(name, name)
        if name not in found:
            raise ConfigError(
                f"benchmarks has {name}, and data={data} has no {place}/test.jsonl or "
                f"{place}/validation.jsonl of it. Add the rows, or remove it."
            )
    return [name for name in known if name in (found if asked is None else asked)]


def absent(measured: Sequence[str]) -> list[str]:
    """The paper's names of those that are not measured."""
    return [name for name, benchmark in PAPER.items() if benchmark not in measured]
