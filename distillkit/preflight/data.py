"""What is said of the examples: how many there are, how many ask alike, how they were read."""

from collections.abc import Iterator, Mapping, Sequence

from distillkit.core.types import Example, Split
from distillkit.datasets.base import Remark
from distillkit.preflight.finding import Finding, ok, warning


def of_data(
    examples: Mapping[Split, Sequence[Example]], remarks: Sequence[Remark]
) -> Iterator[Finding]:
    """The counts, then each remark."""
    counted = ", ".join(f"{split} {len(rows)}" for split, rows in examples.items())
    prompts = len({(one.prompt, one.opening) for one in examples.get(Split.train, ())})
    yield ok(f"examples used: {counted}; distinct training prompts: {prompts}")
    yield from said_of(remarks)


def said_of(remarks: Sequence[Remark]) -> Iterator[Finding]:
    """A finding for each remark: a warning where it has a way out."""
    for remark in remarks:
        if remark.mend:
            yield warning(
                remark.what, why="the run may learn from less than it was given", mend=remark.mend
            )
        else:
            yield ok(remark.what)
