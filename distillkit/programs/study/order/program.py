"""``distillkit study order``: rates, runs at equal steps, then at equal tokens and time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from distillkit.compose import Composed
from distillkit.core.rundir import RunDirectory
from distillkit.core.terminal import WIDE, terminal
from distillkit.programs.study.folder import conduct, finish
from distillkit.programs.study.order.cells import Cell, Recipe, Recipes, recipes_of
from distillkit.programs.study.order.checks import check_examples
from distillkit.programs.study.order.counts import Pace, counts
from distillkit.programs.study.order.findings import Findings
from distillkit.programs.study.order.leaving import MARKDOWN, leave, show, shown
from distillkit.programs.study.order.outcomes import Outcome, outcome_of
from distillkit.programs.study.order.rates import best, score_of, untried
from distillkit.programs.study.trainings import Training, Trainings
from distillkit.run_studies import Equal, OrderStudy, Tuned

STUDY = "order"
COUNTS = "counts.json"
"""File of the steps at equal tokens and equal time, measured once."""


def study_order(
    composed: Composed,
    *,
    console: Console | None = None,
    config_dir: Path | None = None,
    plugins: Sequence[str] = (),
) -> RunDirectory:
    """Run, resume, or show what is done.

    Raises:
        DistillkitError: something the user has to mend.
        Interrupted: a stop was asked for; the same command goes on.
    """
    console = console or terminal(columns=WIDE)
    run: OrderStudy = composed.run

    def prepare(directory: RunDirectory) -> Callable[[], None]:
        trainings = Trainings(
            run, directory.path, console=console, config_dir=config_dir, plugins=plugins
        )
        recipes = recipes_of(run, trainings)
        trainings.check([Cell(recipe, run.steps).first(run) for recipe in recipes.all])
        check_examples(recipes, run)

        def work() -> None:
            found = Stages(run, recipes, trainings, directory).run_all()
            left = leave(found, directory.path)
            page = shown(left, directory.path)
            finish(composed, directory, STUDY, left, shown=page, leaves=[MARKDOWN])

        return work

    return conduct(composed, STUDY, console=console, prepare=prepare, show=show)


@dataclass(slots=True)
class Stages:
    """What is done one after another, each resumable."""

    run: OrderStudy
    recipes: Recipes
    trainings: Trainings
    directory: RunDirectory
    rates: dict[Cell, float] = field(default_factory=dict)
    """Chosen."""
    outcomes: dict[Cell, Outcome] = field(default_factory=dict)
    """Measured."""
    measured: dict[str, Training] = field(default_factory=dict)
    """By name."""

    def run_all(self) -> Findings:
        """Every stage, and what was found."""
        base = {name: self._base(recipe) for name, recipe in self.recipes.methods.items()}
        labels = {key: self._base(recipe) for key, recipe in self.recipes.labels.items()}
        gkd = {key: self._base(recipe) for key, recipe in self.recipes.gkd.items()}
        first = list(dict.fromkeys([*base.values(), *labels.values(), *gkd.values()]))
        self._choose([cell for cell in first if self._chosen(cell, gkd)])
        for (policy, _), cell in gkd.items():
            self.rates.setdefault(cell, self.rates[_first_of(policy, gkd)])
        self._measure(first)
        paces = self._paces()
        cells = {Equal.steps: base}
        for equal in self.run.equal:
            if equal is not Equal.steps:
                cells[equal] = self._fitted(equal, paces[equal])
        self._settle(cells)
        self._measure([cell for row in cells.values() for cell in row.values()])
        self.trainings.table(list(self.measured.values()))
        return Findings(
            run=self.run,
            equal={equal: self._found(row) for equal, row in cells.items()},
            labels=self._found(labels),
            gkd=self._found(gkd),
            writing={name: pace["writing"] for name, pace in paces["paces"].items()},
        )

    def _base(self, recipe: Recipe) -> Cell:
        return Cell(recipe, self.run.steps)

    def _chosen(self, cell: Cell, gkd: Mapping[tuple[str, str], Cell]) -> bool:
        """Whether a cell at equal steps has a rate of its own."""
        if Tuned.gkd in self.run.tuned or cell.recipe not in self.recipes.gkd_alone:
            return True
        return any(cell == _first_of(policy, gkd) for policy, _ in gkd)

    def _fitted(self, equal: Equal, steps: Mapping[str, int]) -> dict[str, Cell]:
        """Cells of all methods for which some step fits."""
        return {
            name: Cell(self.recipes.methods[name], count) for name, count in steps.items() if count
        }

    def _settle(self, cells: Mapping[Equal, Mapping[str, Cell]]) -> None:
        """Rates where steps differ: chosen anew where that is asked for."""
        anew = [
            cell
            for equal, row in cells.items()
            if Tuned(equal) in self.run.tuned
            for cell in row.values()
        ]
        self._choose([cell for cell in dict.fromkeys(anew) if cell not in self.rates])
        for row in cells.values():
            for cell in row.values():
                self.rates.setdefault(cell, self.rates[self._base(cell.recipe)])

    def _choose(self, cells: Sequence[Cell]) -> None:
        run = self.run
        scores: dict[Cell, dict[float, float]] = {cell: {} for cell in cells}
        while left := [(cell, rate) for cell in cells for rate in untried(scores[cell], run.rates)]:
            asked = [cell.tuning(rate, run) for cell, rate in left]
            found = self.trainings.run(asked, stage="rates")
            for (cell, rate), training in zip(left, asked, strict=True):
                scores[cell][rate] = score_of(found[training.name])
        self.rates |= {cell: best(scores[cell], run.rates) for cell in cells}

    def _measure(self, cells: Iterable[Cell]) -> None:
        new = [cell for cell in dict.fromkeys(cells) if cell not in self.outcomes]
        # A seed of all cells before the next, so that what slows the machine slows all of them.
        asked = {
            (cell, seed): cell.measured(self.rates[cell], seed, self.run)
            for seed in self.run.seeds
            for cell in new
        }
        if not asked:
            return
        self.measured |= {each.name: each for each in asked.values()}
        found = self.trainings.run(list(asked.values()), stage="measured")
        for cell in new:
            runs = [found[asked[cell, seed].name] for seed in self.run.seeds]
            self.outcomes[cell] = outcome_of(self.rates[cell], runs)

    def _paces(self) -> dict[str, Any]:
        """What steps took, and the counts by it; kept, since seconds are never the same again."""
        run = self.run

        def made() -> dict[str, Any]:
            paces = {name: self._pace(recipe) for name, recipe in self.recipes.methods.items()}
            return {"paces": {name: pace.as_dict() for name, pace in paces.items()}} | {
                str(equal): counts(paces, equal, clock=run.clock, multiple=run.multiple)
                for equal in run.equal
                if equal is not Equal.steps
            }

        kept: dict[str, Any] = self.directory.kept(COUNTS, made, shape=dict[str, dict[str, Any]])
        return kept

    def _pace(self, recipe: Recipe) -> Pace:
        cell = self._base(recipe)
        outcome = self.outcomes[cell]
        wrote = [self._writing(training) for training in self._all_of(cell)]
        return Pace(outcome.steps, outcome.tokens, outcome.seconds, max(wrote))

    def _all_of(self, cell: Cell) -> list[Training]:
        """All trainings of a cell, of which the first one had the teacher write."""
        run = self.run
        tried = [cell.tuning(rate, run) for rate in run.rates]
        return [*tried, *(cell.measured(self.rates[cell], seed, run) for seed in run.seeds)]

    def _writing(self, training: Training) -> float:
        run = RunDirectory(self.directory.path / "train" / training.name)
        return float((run.summary or {}).get("writing_seconds", 0))

    def _found(self, cells: Mapping[Any, Cell]) -> dict[Any, Outcome]:
        return {key: self.outcomes[cell] for key, cell in cells.items()}


def _first_of(policy: str, gkd: Mapping[tuple[str, str], Cell]) -> Cell:
    """The cell of a policy's first divergence."""
    return next(cell for (own, _), cell in gkd.items() if own == policy)
