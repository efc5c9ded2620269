"""How pictures look: one palette for paper and page, and figures as SVG that follow the page.

A picture is drawn once in the colours of the light page. The PNG keeps them; in the SVG each is
replaced by the page's variable of the same role, so that it turns dark with the page.
"""

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

LIGHT = {
    "surface": "#fffffe",
    "ink": "#1c2127",
    "muted": "#5a6472",
    "rule": "#d8dce2",
    "c0": "#1d5fa9",
    "c1": "#b0441a",
    "c2": "#2a7748",
    "c3": "#7849a4",
    "c4": "#866400",
    "c5": "#0d7180",
    "c6": "#ad2e68",
    "c7": "#4f5a69",
}
"""Roles and their colours on the light page and on paper; each at least 4.5 : 1 on the surface."""

DARK = {
    "surface": "#191c21",
    "ink": "#e7e9ec",
    "muted": "#a4adb9",
    "rule": "#363c45",
    "c0": "#7fb5f2",
    "c1": "#f2996f",
    "c2": "#75c898",
    "c3": "#c4a2ea",
    "c4": "#dbba4c",
    "c5": "#5fc5d1",
    "c6": "#f28cb6",
    "c7": "#acb6c4",
}
"""The same roles on the dark page."""

SERIES = [role for role in LIGHT if role[1:].isdigit()]
TINTS = 11
"""Steps of a heat map, from the surface to half of the first series' colour."""

SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": LIGHT["rule"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.titlecolor": LIGHT["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "text.color": LIGHT["ink"],
    "text.parse_math": False,
    "xtick.color": LIGHT["rule"],
    "ytick.color": LIGHT["rule"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": LIGHT["surface"],
    "svg.fonttype": "none",
    "svg.hashsalt": "distillkit",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure of the report."""

    name: str
    """Of the PNG, without its ending."""
    title: str
    """What it shows, in a few words."""
    alt: str
    """The same for somebody who cannot see it, with its numbers."""
    figure: Figure
    """Drawn in the light colours."""

    def save_png(self, folder: Path) -> None:
        """Write ``<name>.png``."""
        with drawing():
            self.figure.savefig(folder / f"{self.name}.png", dpi=160)

    @property
    def svg(self) -> Markup:
        """As an element of the page: coloured by its variables, with ids of its own."""
        text = io.StringIO()
        with drawing():
            self.figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        return _themed(text.getvalue(), self.name, self.alt)


def canvas(width: float = 4.0, height: float = 2.9) -> tuple[Figure, Axes]:
    """An empty picture in inches; the page shows an inch as about a hundred pixels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def percent(*axes: Axis) -> None:
    """Show shares on these axes in percent."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(100 * value, 6):g} %"))


def plain(*axes: Axis) -> None:
    """Show the numbers of these logarithmic axes as they are, since text is never set as maths."""
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def drawing() -> AbstractContextManager[None]:
    """Everything that draws belongs inside: matplotlib takes colours when a thing is made."""
    return matplotlib.rc_context(SETTINGS)


def colour(index: int) -> str:
    """Colour of the series at this position."""
    return LIGHT[SERIES[index % len(SERIES)]]


def dashes(index: int) -> str:
    """Line style of the series at this position, so that colours that come again differ."""
    return ("-", "--", ":", "-.")[index // len(SERIES) % 4]


def tint(share: float) -> str:
    """Background of a heat map's cell, 0 lowest and 1 highest, light enough for text upon it."""
    return _tint(round(share * (TINTS - 1)))


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Places between 0 and 1 for labels at these heights, ``gap`` apart or as far as they fit."""
    gap = min(gap, 1 / max(1, len(values) - 1))
    order = sorted(range(len(values)), key=lambda at: values[at])
    places = [min(1.0, max(0.0, value)) for value in values]
    for below, above in pairwise(order):
        places[above] = max(places[above], places[below] + gap)
    ceiling = 1.0
    for at in reversed(order):
        places[at] = min(places[at], ceiling)
        ceiling = places[at] - gap
    return places


def _tint(step: int) -> str:
    share = _strength(step)
    mixed = (
        round(
            (1 - share) * int(LIGHT["surface"][at : at + 2], 16)
            + share * int(LIGHT["c0"][at : at + 2], 16)
        )
        for at in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _strength(step: int) -> float:
    """Share of the colour: the lowest cell is still seen, the highest still takes ink."""
    return 0.06 + 0.44 * step / (TINTS - 1)


def _variables() -> dict[str, str]:
    tints = {
        _tint(step): f"color-mix(in srgb, var(--c0) {100 * _strength(step):g}%, var(--surface))"
        for step in range(TINTS)
    }
    roles = {value: f"var(--{role})" for role, value in LIGHT.items()}
    return tints | roles | {"#000000": "currentColor"}


def _themed(svg: str, name: str, alt: str) -> Markup:
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Its style element would apply to the whole page, whose own says the same.
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", body)
    for value, variable in _variables().items():
        body = body.replace(value, variable)
    # The page's own font, which is named once there.
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    head = f'<svg class="plot" viewBox="{box[1]}" role="img" aria-label="{escape(alt)}">'
    return Markup(head + body)
