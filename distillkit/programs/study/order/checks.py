"""What a study that compares methods refuses before it trains one."""

from collections.abc import Mapping
from typing import Any

from distillkit.core.errors import DataError
from distillkit.core.types import Example, Split
from distillkit.programs.study.order.cells import Recipe, Recipes
from distillkit.run_studies import OrderStudy


def check_examples(recipes: Recipes, run: OrderStudy) -> None:
    """Refuse recipes whose validation or test examples differ, or that lack labels.

    Raises:
        DataError: they do, a split is empty, or a budget is larger than the training split.
    """
    seen: dict[str, tuple[str, list[Example]]] = {}
    first: tuple[str, list[Example]] | None = None
    for recipe, made in recipes.composed.items():
        asked = str(sorted(made.config["dataset"].items()))
        if asked not in seen:
            seen[asked] = (recipe.slug, _measured_on(made.run.dataset, recipe, run))
        first = first or seen[asked]
        if seen[asked][1] != first[1]:
            raise DataError(
                f"{recipe.slug} ({recipe.overrides}) would be measured on other examples than "
                f"{first[0]}. Say what concerns the data by train.dataset=..., for all methods."
            )


def _measured_on(dataset: Any, recipe: Recipe, run: OrderStudy) -> list[Example]:
    gathered: Mapping[Split, Any] = dataset.gather(list(Split)).examples
    limits = {Split.validation: run.validation, Split.test: run.test}
    found: list[Example] = []
    for split, limit in limits.items():
        part = list(gathered[split])[:limit]
        if not part:
            raise DataError(
                f"{recipe.slug} ({recipe.overrides}) has no {split} example, and the study chooses "
                "rates on validation and compares on test. Choose other data by train.dataset=..."
            )
        found += part
    return found
