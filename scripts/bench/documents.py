"""Learning from whole documents, beside transformers' Trainer with the plainest loss.

Forward KL at every token of text that is there, the same documents in every step, of as many
lengths. Nothing is written, so what is timed is both models, the loss and AdamW.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console

from distillkit.core.types import Author, Example
from distillkit.divergences.kl import ForwardKL
from distillkit.objectives.divergence import DivergenceObjective
from distillkit.policies.fixed import OffPolicy
from distillkit.supports.full import Full
from distillkit.training.authors import DatasetAuthor
from distillkit.training.parts import Parts
from distillkit.training.sampler import Pool
from scripts.bench.compare import Comparison, Options, compare
from scripts.bench.measure import quartiles, ratios
from scripts.bench.ours import OurSteps, parts_of
from scripts.bench.pair import Shape, questions
from scripts.bench.report import comparison_table, plain_table
from scripts.bench.roofline import Rates, Sizes, limits, told
from scripts.bench.steps import check_work, hush, pair_shape

CONTENDERS = ("ours", "trainer")
TINY = Shape(lengths=(5, 9, 14), vocabulary=320, student=(16, 2), teacher=(32, 2))
DOCUMENTS = Shape(lengths=tuple(range(64, 513, 64)))
SHORT = tuple(range(32, 193, 32))
"""Words of the documents of the real pair."""
MEMORY_RUNS = 3
"""As of whole steps."""


@contextmanager
def built(name: str, shape: Shape) -> Iterator[Any]:
    """One contender's steps, each a call that says its seconds."""
    hush()
    if name == "ours":
        steps: Any = OurSteps(reading(shape))
    else:
        from scripts.bench import peers

        steps = peers.PeerSteps(peers.plain_trainer(shape, documents(shape)))
    with steps:
        yield steps


def run(options: Options, console: Console) -> Comparison:
    """On the benchmark's pair."""
    return _run("documents", TINY if options.quick else DOCUMENTS, options, console)


def run_pair(options: Options, console: Console) -> Comparison:
    """On the real one, of word problems."""
    real = pair_shape(options)
    lengths = TINY.lengths if options.quick else SHORT
    return _run("pair_documents", replace(real, lengths=lengths), options, console)


def _run(title: str, shape: Shape, options: Options, console: Console) -> Comparison:
    parts = reading(shape)
    responses = [len(each.tokens) for each in _texts(parts)]
    tokens = sum(responses)
    limit = Limit(parts, responses)
    result, facts = compare(
        sys.modules[__name__], shape, options, contenders=CONTENDERS, beside={"limit": limit}
    )
    check_work(title, result, facts, tokens=tokens)
    heading = f"{title}: {len(responses)} documents, {tokens:,} tokens a step, forward KL"
    comparison_table(heading, result, console)
    result.notes["rates"] = [*map(asdict, limit.rates)]
    over = ratios(result.seconds, to="limit")
    rows = {
        name: {
            "tokens a second": f"{tokens / quartiles(seconds)[1]:,.0f}",
            "over the limit": f"{quartiles(over[name])[1]:.2f}",
        }
        for name, seconds in result.seconds.items()
    }
    plain_table(f"{title}: the limit at {told(limit.rates)}", rows, console)
    return result


class Limit:
    """Seconds that a step must take at the rates of the moment.

    Args:
        parts: whose step it is.
        responses: tokens that are learnt of each document.
    """

    def __init__(self, parts: Parts, responses: Sequence[int]) -> None:
        assert parts.sides.teacher is not None
        self._sizes = Sizes.of(parts.sides.student), Sizes.of(parts.sides.teacher)
        self._responses = responses
        self.rates: list[Rates] = []

    def __call__(self) -> float:
        rates = Rates.measured(self._sizes[0].weights)
        self.rates.append(rates)
        least = limits(*self._sizes, [1] * len(self._responses), self._responses, rates)
        return sum(seconds for phase, seconds in least.items() if phase != "rollout")


def documents(shape: Shape) -> list[str]:
    """Texts of about as many tokens as the lengths say; one less, for the end token."""
    if not shape.real:
        return [questions(replace(shape, lengths=(1,), prompt=n), 1)[0] for n in shape.lengths]
    words = " ".join(questions(shape, 4 * max(shape.lengths) // len(shape.lengths))).split()
    return [" ".join(words[length : 2 * length]) for length in shape.lengths]


def reading(shape: Shape) -> Parts:
    """What ``distillkit train policy=off_policy`` would assemble, on these documents."""
    parts = parts_of(shape)
    examples = [
        Example(id=f"{number}", prompt=(), reference=text)
        for number, text in enumerate(documents(shape))
    ]
    author = DatasetAuthor(parts.sides.student, parts.sides.readers)
    return replace(
        parts,
        pool=Pool.of(examples),
        policy=OffPolicy(),
        authors={Author.dataset: author},
        objective=DivergenceObjective(support=Full(), divergence=ForwardKL()),
    )


def _texts(parts: Parts) -> Sequence[Any]:
    author = parts.authors[Author.dataset]
    return author.write(parts.pool.examples, step=0)
