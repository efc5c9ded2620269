"""Learning from whole documents, beside transformers' Trainer with the plainest loss.

Forward KL at every token of text that is there, the same documents in every step, of as many
lengths. Nothing is written, so what is timed is both models, the loss and AdamW.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
from scripts.bench.measure import quartiles
from scripts.bench.ours import OurSteps, parts_of
from scripts.bench.pair import Shape, questions
from scripts.bench.report import comparison_table, plain_table
from scripts.bench.roofline import Rates, Sizes, limits
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
    result, facts = compare(sys.modules[__name__], shape, options, contenders=CONTENDERS)
    parts = reading(shape)
    responses = [len(each.tokens) for each in _texts(parts)]
    tokens = sum(responses)
    check_work(title, result, facts, tokens=tokens)
    heading = f"{title}: {len(responses)} documents, {tokens:,} tokens a step, forward KL"
    comparison_table(heading, result, console)
    sizes = [Sizes.of(side) for side in (parts.sides.student, parts.sides.teacher) if side]
    rates = Rates.measured(sizes[0].weights)
    least = limits(*sizes, [1] * len(responses), responses, rates)
    limit = sum(seconds for phase, seconds in least.items() if phase != "rollout")
    result.notes["limit"] = limit
    rows = {
        name: {
            "tokens a second": f"{tokens / quartiles(seconds)[1]:,.0f}",
            "over the limit": f"{quartiles(seconds)[1] / limit:.2f}",
        }
        for name, seconds in result.seconds.items()
    }
    heading = f"{title}: the limit is {limit:.3f} s at {rates.products / 1e9:,.0f} GFLOP/s"
    plain_table(heading, rows, console)
    return result


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
