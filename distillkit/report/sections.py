"""The sections of pictures: what each shows, how to read it, and what to do where it is empty."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distillkit.report.groups import Group
from distillkit.report.progress import SMOOTH, exposure_bias, learning, reliability
from distillkit.report.scatter import fidelity, heat_map, precision_recall
from distillkit.report.style import Picture
from distillkit.report.tables import Column
from distillkit.report.wording import p_value
from distillkit.statistics.finding import Finding


@dataclass(frozen=True, slots=True)
class Section:
    """One heading with its pictures."""

    anchor: str
    """Its id on the page."""
    name: str
    """The heading."""
    pictures: tuple[Picture, ...]
    """None where nothing was measured."""
    caption: str
    """How to read them."""
    absent: str
    """Said where there are none."""
    remedy: str = ""
    """The command that changes this."""
    small: bool = False
    """Whether the pictures are many and little."""

    def save(self, folder: Path) -> None:
        """Write a PNG of each picture."""
        for picture in self.pictures:
            picture.save_png(folder)


def sections(groups: Sequence[Group], column: Column, *, remedy: str) -> tuple[Section, ...]:
    """All of them, in the order of the page; none without runs; inside ``style.drawing()``.

    Args:
        groups: the configurations.
        column: the primary number.
        remedy: the command that measures what is not there.
    """
    if not groups:
        return ()
    return (
        _learning(groups),
        *_grid(groups, column),
        _precision(groups, remedy),
        _fidelity(groups, column, remedy),
        _calibration(groups, remedy),
        _exposure(groups, remedy),
    )


def _learning(groups: Sequence[Group]) -> Section:
    return Section(
        "learning",
        "Learning",
        tuple(learning(groups)),
        "Thick: mean over seeds, with the letter at its end. Thin: single seeds. The loss is a "
        f"mean over {SMOOTH} updates; losses of unlike divergences are not on one scale.",
        "No training log was found.",
    )


def _grid(groups: Sequence[Group], column: Column) -> list[Section]:
    """Empty where the runs are no grid, since no command would make them one."""
    pictures = tuple(heat_map(groups, column))
    caption = "Mean over seeds; a stronger tint is more. The letter names the row of the table."
    return [Section("grid", "β and λ", pictures, caption, "")] if pictures else []


def _precision(groups: Sequence[Group], remedy: str) -> Section:
    return Section(
        "precision",
        "Precision and recall",
        tuple(precision_recall(groups)),
        "A point a seed, the letter at the configuration’s mean, an arrow from the start (○); "
        "★ is the teacher. Both are likelihoods of a token: up and to the right is better.",
        "Precision and recall were not measured.",
        remedy,
    )


def _fidelity(groups: Sequence[Group], column: Column, remedy: str) -> Section:
    pictures, found = fidelity(groups, column)
    return Section(
        "fidelity",
        "Fidelity and gain",
        tuple(pictures),
        f"Each letter is one run: nearness to the teacher against {column.title} gained over "
        f"the start. {_correlation(found)}",
        "Fidelity was not measured on three runs or more, with their start.",
        remedy,
    )


def _calibration(groups: Sequence[Group], remedy: str) -> Section:
    return Section(
        "calibration",
        "Calibration",
        tuple(reliability(groups)),
        "Below the dotted diagonal a model is surer than it is right. Coloured: the student, bins "
        "of all seeds together, larger dots for more tokens. Grey dashed: the start; grey solid: "
        "the teacher.",
        "Calibration was not measured.",
        remedy,
        small=True,
    )


def _exposure(groups: Sequence[Group], remedy: str) -> Section:
    return Section(
        "exposure",
        "Exposure bias",
        tuple(exposure_bias(groups)),
        "Excess error that the student’s own prefixes add up to by length l; flat is good, zero is "
        "none. Lengths before a twentieth of the error has come together are left out.",
        "Exposure bias was not measured.",
        remedy,
    )


def _correlation(found: Finding | None) -> str:
    if found is None or found.estimate != found.estimate:
        return ""
    ends = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return (
        f"Spearman’s ρ {found.estimate:.2f}{ends}, n = {found.n} runs, p {p_value(found.p)}. Seeds "
        "of one configuration are not independent settings, so this is surer than it should be."
    )
