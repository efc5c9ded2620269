"""Runs that differ only in their seed, as one row; and what sets the rows apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from distillkit.core.errors import ConfigError
from distillkit.report.runs import Run
from distillkit.report.settings import ABSENT

TIED = "\N{NO-BREAK SPACE}"

SIGNS = {"beta": "β", "lmbda": "λ"}
"""Settings that have a letter in the papers."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one configuration."""

    key: str
    """Letter that stands for it in pictures."""
    label: str
    """What sets it apart, in words."""
    runs: tuple[Run, ...]
    """By seed."""

    @property
    def seeded(self) -> bool:
        """Whether it has several seeds, so that it says something about the next one."""
        return len(self.runs) > 1


def group(runs: Sequence[Run]) -> tuple[Group, ...]:
    """Group runs that differ only in ``seed``, in the order of first appearance."""
    members: dict[tuple, list[Run]] = {}
    for run in runs:
        same = tuple(sorted((key, text) for key, text in run.config.items() if key != "seed"))
        found = members.setdefault(same, [])
        # One seed twice is not two seeds.
        if any(other.seed == run.seed for other in found):
            found = members.setdefault((*same, ("run", run.name)), [])
        found.append(run)
    ordered = [
        sorted(found, key=lambda run: (run.seed is None, run.seed)) for found in members.values()
    ]
    labels = _labels(ordered)
    return tuple(
        Group(key=letter(index), label=label, runs=tuple(found))
        for index, (label, found) in enumerate(zip(labels, ordered, strict=True))
    )


def letter(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    above, place = divmod(index, len(ascii_uppercase))
    return (letter(above - 1) if above else "") + ascii_uppercase[place]


def baseline_of(groups: Sequence[Group], name: str | None) -> Group:
    """The group that holds the run of this name, or has this letter or label; the first if None.

    Raises:
        ConfigError: there is none.
    """
    if not groups:
        raise ConfigError(f"--baseline {name}: there is no run to compare. Leave it out.")
    if name is None:
        return groups[0]
    for found in groups:
        if name in (found.key, found.label.replace(TIED, " "), *(run.name for run in found.runs)):
            return found
    names = ", ".join(found.runs[0].name for found in groups)
    raise ConfigError(f"--baseline {name} is none of the runs. Give one of {names}.")


def together(rows: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Names of the settings that have the same texts everywhere, with these texts."""
    names: dict[tuple[str, ...], list[str]] = {}
    for key, texts in rows.items():
        names.setdefault(texts, []).append(key)
    return {tuple(keys): texts for texts, keys in names.items()}


def differences(groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    """Settings that differ among groups, each with a text a group."""
    keys = dict.fromkeys(key for found in groups for key in found.runs[0].config)
    rows = {
        # A dotted key is of a component that others do not have; a bare one is a choice not made.
        key: tuple(
            found.runs[0].config.get(key, ABSENT if "." in key else "default") for found in groups
        )
        for key in keys
        if key != "seed"
    }
    return {key: texts for key, texts in rows.items() if len(set(texts)) > 1}


def _labels(members: Sequence[Sequence[Run]]) -> list[str]:
    plain = [Group("", "", tuple(found)) for found in members]
    if len(members) <= 1:
        return [found[0].name for found in members]
    rows = _told_once(differences(plain))
    parts: list[list[str]] = [[] for _ in members]
    for key, texts in rows.items():
        short = key.rsplit(".", 1)[-1]
        for part, text in zip(parts, texts, strict=True):
            if text not in (ABSENT, "null"):
                alone = key in ("divergence", "policy")
                part.append(text if alone else f"{SIGNS.get(short, short)}{TIED}{text}")
    labels = [" · ".join(part) for part in parts]
    if len(set(labels)) < len(labels) or max(map(len, labels)) > 48 or not all(labels):
        return [found[0].name for found in members]
    return labels


def _told_once(rows: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Of settings that always change together, the one with the shortest name."""
    shortest: dict[tuple[str, ...], str] = {}
    for key, texts in rows.items():
        shown = tuple(ABSENT if text == "null" else text for text in texts)
        if shown not in shortest or len(key) < len(shortest[shown]):
            shortest[shown] = key
    return {key: rows[key] for key in rows if key in shortest.values()}
