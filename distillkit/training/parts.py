"""All that an update is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distillkit.core.errors import DataError
from distillkit.core.spec import name_of
from distillkit.core.types import Author, Example, Rollout, Split
from distillkit.datasets.base import Dataset, Remark
from distillkit.distributed.placement import ALONE, Placement
from distillkit.objectives.base import Beside, Objective
from distillkit.policies.base import Policy
from distillkit.rewards.base import Judge
from distillkit.training.authors import AnyAuthor, DatasetAuthor
from distillkit.training.sampler import Pool, draw_indices
from distillkit.training.settings import LoopSettings, OptimizerSettings
from distillkit.training.sides import Sides


@dataclass(frozen=True, slots=True)
class OtherText:
    """Text of its own that is learnt beside the rollouts, as much in every update."""

    beside: Beside
    """What is minimised on it."""
    examples: Sequence[Example]
    """Whose references are the text."""
    author: AnyAuthor
    """Closes and cuts them."""
    remarks: Sequence[Remark] = ()
    """On how they were read."""

    def rollouts(self, step: int, *, batch_size: int, seed: int) -> list[Rollout]:
        """The text of one update."""
        count = len(self.examples)
        indices = draw_indices(step, batch_size=batch_size, count=count, seed=seed)
        examples = [self.examples[index] for index in indices]
        responses = self.author.write(examples, step=step)
        return [Rollout(*pair) for pair in zip(examples, responses, strict=True)]


def other_text(objective: Objective, dataset: Dataset | None, *, sides: Sides) -> OtherText | None:
    """The text beside the rollouts; None where the objective asks for none, or none is given.

    Raises:
        DataError: a row has nothing to be learnt, or leaves no room for it.
    """
    beside = objective.beside()
    if beside is None or dataset is None:
        return None
    gathered = dataset.gather([Split.train])
    examples = gathered.examples[Split.train]
    for example in examples:
        _check_learnable(example, dataset, sides)
    author = DatasetAuthor(sides.student, sides.readers)
    return OtherText(beside, examples, author, gathered.remarks)


def _check_learnable(example: Example, dataset: Dataset, sides: Sides) -> None:
    where = f"{example.id} of dataset@dataset_pt={name_of(dataset)}"
    if not example.teaches:
        raise DataError(
            f"{where} has no reference response, which is the text to learn. Leave the row out, or "
            "choose another dataset@dataset_pt=..."
        )
    for reader in sides.readers:
        length = reader.prompt_length(example)
        if length >= reader.context:
            raise DataError(
                f"the prompt of {where} has {length} tokens, which leaves no room for its text in "
                f"a context of {reader.context}. Leave the row out, or choose a model with more "
                "room."
            )


@dataclass(frozen=True, slots=True)
class Parts:
    """The models, what they read, what is minimised, and how."""

    sides: Sides
    pool: Pool
    policy: Policy
    authors: Mapping[Author, AnyAuthor]
    objective: Objective
    loop: LoopSettings
    optimizer: OptimizerSettings
    seed: int
    steps: int
    placement: Placement = ALONE
    judge: Judge | None = None
    other: OtherText | None = None
