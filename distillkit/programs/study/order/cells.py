"""The cells of the study: what is trained, for how many steps, with which rates and seeds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from distillkit.compose import Composed
from distillkit.core.types import Author
from distillkit.programs.study.trainings import Training, Trainings
from distillkit.run_studies import OrderStudy


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train, whatever the rate, the seed and the number of steps."""

    slug: str
    """Beginning of its trainings' names."""
    overrides: str
    """As typed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A recipe for some number of steps."""

    recipe: Recipe
    steps: int

    def tuning(self, rate: float, run: OrderStudy) -> Training:
        """A training in which nothing is read but validation."""
        asked = f"evaluation.every={self.steps} evaluation.validation={run.validation}"
        return self._training(rate, run.tuning_seed, f"{asked} evaluation.test=0")

    def measured(self, rate: float, seed: int, run: OrderStudy) -> Training:
        """A training whose last weights answer the test split."""
        test = "null" if run.test is None else run.test
        return self._training(rate, seed, f"evaluation.every=0 evaluation.test={test}")

    def _training(self, rate: float, seed: int, asked: str) -> Training:
        own = f"optimizer.lr={rate:g} seed={seed} steps={self.steps} {asked}"
        name = f"{self.recipe.slug}-{rate:g}-{self.steps}-{seed}"
        return Training(name, f"{self.recipe.overrides} {own}")


@dataclass(frozen=True, slots=True)
class Recipes:
    """All recipes of the study; what composes to the same training is one recipe."""

    methods: Mapping[str, Recipe]
    """By method, with all labels there are."""
    labels: Mapping[tuple[str, int], Recipe]
    """By method and budget, of methods that the dataset writes for."""
    gkd: Mapping[tuple[str, str], Recipe]
    """By policy and divergence."""

    @property
    def all(self) -> list[Recipe]:
        """Each once."""
        return list(
            dict.fromkeys([*self.methods.values(), *self.labels.values(), *self.gkd.values()])
        )


def recipes_of(run: OrderStudy, trainings: Trainings) -> Recipes:
    """Compose each once, to see who writes and which are the same.

    Raises:
        ConfigError: one cannot be run.
    """
    known: dict[str, Recipe] = {}

    def known_as(slug: str, overrides: str) -> tuple[Recipe, Composed]:
        recipe = Recipe(slug, overrides)
        made = composed(recipe, run, trainings)
        return known.setdefault(made.fingerprint, recipe), made

    methods = {name: known_as(name, typed) for name, typed in run.methods.items()}
    labels = {
        (name, budget): known_as(
            f"{name}-{budget}", f"{run.methods[name]} dataset.labelled={budget}"
        )[0]
        for name, (_, made) in methods.items()
        if Author.dataset in made.run.policy.may_write()
        for budget in run.labels
    }
    gkd = {
        (policy, divergence): known_as(_slug("gkd", policy, divergence), f"{who} {what}")[0]
        for policy, divergence, who, what in _crossed(run)
    }
    return Recipes({name: recipe for name, (recipe, _) in methods.items()}, labels, gkd)


def composed(recipe: Recipe, run: OrderStudy, trainings: Trainings) -> Composed:
    """A recipe's first measured training as a run.

    Raises:
        ConfigError: it cannot be run.
    """
    return trainings.composed(Cell(recipe, run.steps).measured(run.rates[0], run.seeds[0], run))


def every_training(recipes: Sequence[Recipe], run: OrderStudy) -> list[Training]:
    """One of each kind at equal steps, to be checked before anything is run."""
    cells = [Cell(recipe, run.steps) for recipe in recipes]
    made = [
        [cell.tuning(run.rates[0], run), cell.measured(run.rates[0], run.seeds[0], run)]
        for cell in cells
    ]
    return [each for pair in made for each in pair]


def _crossed(run: OrderStudy) -> Iterator[tuple[str, str, str, str]]:
    if run.gkd:
        for policy, who in run.policies.items():
            for divergence, what in run.divergences.items():
                yield policy, divergence, who, what


def _slug(*words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower())
