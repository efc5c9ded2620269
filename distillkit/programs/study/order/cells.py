"""The cells of the study: what is trained, for how many steps, with which rates and seeds."""

import re
from collections.abc import Iterator, Mapping
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

    def first(self, run: OrderStudy) -> Training:
        """The training that stands for all when the study is checked."""
        return self.measured(run.rates[0], run.seeds[0], run)

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
    composed: Mapping[Recipe, Composed]
    """The first training of each."""

    @property
    def all(self) -> list[Recipe]:
        """Each once."""
        return list(self.composed)

    @property
    def gkd_alone(self) -> set[Recipe]:
        """Those of GKD's table that are no method's."""
        return set(self.gkd.values()) - {*self.methods.values(), *self.labels.values()}


def recipes_of(run: OrderStudy, trainings: Trainings) -> Recipes:
    """Compose each once, to see who writes and which are the same.

    Raises:
        ConfigError: one cannot be run.
    """
    known: dict[str, Recipe] = {}
    composed: dict[Recipe, Composed] = {}

    def known_as(slug: str, overrides: str) -> Recipe:
        recipe = Recipe(slug, overrides)
        made = trainings.composed(Cell(recipe, run.steps).first(run))
        recipe = known.setdefault(made.fingerprint, recipe)
        composed.setdefault(recipe, made)
        return recipe

    methods = {name: known_as(name, typed) for name, typed in run.methods.items()}
    labels = {
        (name, budget): known_as(
            f"{name}-{budget}", f"{recipe.overrides} dataset.labelled={budget}"
        )
        for name, recipe in methods.items()
        if Author.dataset in composed[recipe].run.policy.may_write()
        for budget in run.labels
    }
    gkd = {
        (policy, divergence): known_as(_slug("gkd", policy, divergence), f"{who} {what}")
        for policy, divergence, who, what in _crossed(run)
    }
    return Recipes(methods, labels, gkd, composed)


def _crossed(run: OrderStudy) -> Iterator[tuple[str, str, str, str]]:
    if run.gkd:
        for policy, who in run.policies.items():
            for divergence, what in run.divergences.items():
                yield policy, divergence, who, what


def _slug(*words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower())
