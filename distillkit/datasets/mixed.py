"""Several datasets as one: each example is judged by the part it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from distillkit.core.bounds import check_least
from distillkit.core.errors import ConfigError, DataError, DistillkitError
from distillkit.core.spec import spec
from distillkit.core.types import Example, Split
from distillkit.datasets.base import Dataset, Gathered, Remark

PART = "part"
"""Tag of an example that names its part."""

BETWEEN = "/"
"""Stands in an id between the name of the part and the id there."""


@spec("dataset/mixed")
class Mixed(Dataset):
    """Examples of several datasets, spread evenly through each other in a fixed order.

    An id is that of the part behind the part's name, as in ``market/market-train-0``. The name is
    also the tag ``part``, by which ``teacher=several`` can choose who reads an example.
    """

    parts: dict[str, Dataset] = field(default_factory=dict)
    """The datasets by names of their own, as in ``+dataset@dataset.parts.market=arithmetic``."""
    shares: dict[str, float] = field(default_factory=dict)
    """How much of each part there is beside the others, as many examples as the parts allow; all
    of all parts if empty."""
    train: int | None = None
    """First examples of the mixed training split to use; null for all."""
    validation: int | None = None
    """First examples of the mixed validation split to use; null for all."""
    test: int | None = None
    """First examples of the mixed test split to use; null for all."""

    def __post_init__(self) -> None:
        check_least(self, "dataset.", 1, *Split, hint=", or null for all")
        if not self.parts:
            raise ConfigError(
                "dataset=mixed has no parts. Name some, as in "
                "+dataset@dataset.parts.market=arithmetic +dataset@dataset.parts.journey=journey."
            )
        for name, part in self.parts.items():
            if BETWEEN in name or not name:
                raise ConfigError(
                    f"dataset.parts.{name}: a name may hold no {BETWEEN}. Choose another."
                )
            if part.labelled is not None:
                raise ConfigError(
                    f"dataset.parts.{name}.labelled={part.labelled} has no effect: the budget is "
                    "that of the mixed examples. Set dataset.labelled."
                )
        if self.shares:
            _check_shares(self.shares, self.parts)

    def examples(self, split: Split) -> Sequence[Example]:
        return self.read([split]).examples[split]

    def read(self, splits: Sequence[Split]) -> Gathered:
        found = {name: _read(name, part, splits) for name, part in self.parts.items()}
        remarks = [
            Remark(f"dataset.parts.{name}: {remark.what}", remark.mend)
            for name, gathered in found.items()
            for remark in gathered.remarks
        ]
        examples = {
            split: self._mixed({name: found[name].examples[split] for name in found}, split)
            for split in splits
        }
        return Gathered(examples, remarks)

    def splits(self) -> set[Split]:
        return set.intersection(*(part.splits() for part in self.parts.values()))

    def extract(self, text: str) -> str | None:
        """As the first part reads it that reads an answer: of no example, no part is known."""
        said = (part.extract(text) for part in self.parts.values())
        return next((answer for answer in said if answer is not None), None)

    def stated(self, example: Example, text: str) -> str | None:
        part, own = self._own(example)
        return part.stated(own, text)

    def is_correct(self, example: Example, text: str) -> bool:
        part, own = self._own(example)
        return part.is_correct(own, text)

    def earlier(self, values: dict[str, Any]) -> dict[str, Any]:
        """As it is: there are no earlier versions."""
        return values

    def _own(self, example: Example) -> tuple[Dataset, Example]:
        """The part of an example, and the example as that knows it."""
        name, _, known = example.id.partition(BETWEEN)
        return self.parts[name], replace(example, id=known)

    def _mixed(self, found: Mapping[str, Sequence[Example]], split: Split) -> list[Example]:
        counts = {name: len(examples) for name, examples in found.items()}
        if self.shares:
            counts = shared_out(counts, self.shares)
        mixed = [_named(name, found[name][place]) for name, place in spread(counts)]
        if len({bool(example.prompt) for example in mixed}) > 1:
            raise DataError(
                f"dataset.parts mixes questions and running text in the {split} split, which are "
                "measured in different ways. Use parts of one kind; text beside questions is "
                "dataset_pt."
            )
        return mixed[: getattr(self, split)]


def spread(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Names and places of so many things of each name, all evenly through each other.

    Any beginning of the list holds of each name what its share is, to within one.
    """
    order = [
        ((2 * place + 1) / (2 * count), rank, name, place)
        for rank, (name, count) in enumerate(counts.items())
        for place in range(count)
    ]
    return [(name, place) for _, _, name, place in sorted(order)]


def shared_out(counts: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, int]:
    """As many of each name as there may be for the shares to hold, to the nearest one."""
    most = min(counts[name] / share for name, share in shares.items())
    return {name: min(count, round(most * shares[name])) for name, count in counts.items()}


def _named(name: str, example: Example) -> Example:
    others = tuple(tag for tag in example.tags if tag[0] != PART)
    return replace(example, id=f"{name}{BETWEEN}{example.id}", tags=((PART, name), *others))


def _read(name: str, part: Dataset, splits: Sequence[Split]) -> Gathered:
    try:
        return part.read(splits)
    except DistillkitError as error:
        raise type(error)(f"dataset.parts.{name}: {error}") from error


def _check_shares(shares: Mapping[str, float], parts: Mapping[str, Dataset]) -> None:
    if shares.keys() != parts.keys():
        raise ConfigError(
            f"dataset.shares names {', '.join(shares) or 'nothing'}, and the parts are "
            f"{', '.join(parts)}. Give each part a share, or leave it out for all of all parts."
        )
    for name, share in shares.items():
        if share <= 0:
            raise ConfigError(
                f"dataset.shares.{name}={share} must be above 0. Leave the part out instead."
            )
