"""What asking the teacher takes, over all processes of a run and all that went on with it."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from distillkit.core.costs import Costs
from distillkit.core.types import Update
from distillkit.distributed.placement import Placement
from distillkit.opinions.base import Reader
from distillkit.report.costs import price_of_a_point


class Spending:
    """Costs of a run.

    Args:
        reader: who is asked; None where nobody is.
        before: costs until the checkpoint that the run goes on from.
        placement: the processes, each of which asks for itself.
    """

    def __init__(
        self, reader: Reader | None, before: Mapping[str, float], placement: Placement
    ) -> None:
        self._reader, self._placement = reader, placement
        self._before = _costs(before)
        self._seconds = 0.0

    def heard(self, update: Update) -> dict[str, float]:
        """Count an update; the costs of this process so far, for a tracker."""
        self._seconds += update.seconds.get("teacher", 0.0)
        return {f"teacher/{name}": value for name, value in asdict(self._here()).items() if value}

    def total(self) -> dict[str, float]:
        """Of all processes; called by all. Empty where nobody is asked."""
        if self._reader is None:
            return {}
        found = self._placement.add_up(asdict(self._here()))
        return asdict(_costs(found) + self._before)

    def _here(self) -> Costs:
        """The clock of the updates has all seconds: a model of this process counts none itself."""
        costs = Costs() if self._reader is None else self._reader.costs
        return replace(costs, seconds=self._seconds)


def _costs(found: Mapping[str, Any]) -> Costs:
    whole = {name: int(found.get(name, 0)) for name in ("tokens", "bytes")}
    return Costs(
        **whole, seconds=round(found.get("seconds", 0.0), 3), price=found.get("price", 0.0)
    )


def costs_line(summary: Mapping[str, Any]) -> str | None:
    """The same in words, for each point of accuracy gained too; None where nobody was asked."""
    costs = summary.get("teacher_costs")
    if not costs:
        return None
    told = [f"{costs['tokens']:,} tokens", f"{costs['seconds']:,.1f} s"]
    if costs["bytes"]:
        told.insert(1, f"{costs['bytes'] / 1e6:,.1f} MB")
    if costs["price"]:
        told.append(f"a price of {costs['price']:,.4g}")
    if (each := price_of_a_point(summary)) is not None:
        told.append(f"{each:,.3g} for a point of accuracy")
    return f"teacher  {', '.join(told)}"
