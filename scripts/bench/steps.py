"""A whole on-policy step, beside TRL's: rollout, both models, loss, clipping and AdamW."""

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from transformers.utils import logging as transformers_logging

from scripts.bench.compare import Comparison, Options, compare
from scripts.bench.ours import OurSteps
from scripts.bench.pair import REAL, Shape
from scripts.bench.report import comparison_table

CONTENDERS = ("ours", "trl", "trl_gkd")
PADDED = ("ours", "trl")
"""Those that take prompts of different lengths as they come."""

TINY = Shape(lengths=(3, 4, 6), limit=6, prompt=9, vocabulary=320, student=(16, 2), teacher=(32, 2))
STEP = Shape()
LONG = Shape(lengths=(512,) * 4, limit=512)
RAGGED = Shape(lengths=tuple(round(8 + row * 120 / 7) for row in range(8)), limit=128)
MEMORY_RUNS = 3
"""The first step allocates the optimiser's states, the others have them beside a whole step."""


@contextmanager
def built(name: str, shape: Shape) -> Iterator[Any]:
    """One contender's steps, each a call that says its seconds.

    Raises:
        ImportError: TRL is not installed.
    """
    hush()
    if name == "ours":
        steps: Any = OurSteps.on_policy(shape)
    else:
        from scripts.bench import peers

        make = {"trl": peers.distillation_trainer, "trl_gkd": peers.gkd_trainer}[name]
        steps = peers.PeerSteps(make(shape))
    with steps:
        yield steps


def run_step(options: Options, console: Console) -> Comparison:
    """Responses that all have the same length."""
    tiny = replace(TINY, lengths=(TINY.limit,) * len(TINY.lengths))
    return _run("step", tiny if options.quick else STEP, options, console)


def run_ragged(options: Options, console: Console) -> Comparison:
    """Responses whose lengths are spread evenly."""
    return _run("ragged", TINY if options.quick else RAGGED, options, console, contenders=PADDED)


def run_long(options: Options, console: Console) -> Comparison:
    """Responses of 512 tokens."""
    tiny = replace(TINY, lengths=(TINY.limit,) * 2)
    return _run("long", tiny if options.quick else LONG, options, console, contenders=PADDED)


def run_pair(options: Options, console: Console) -> Comparison:
    """SmolLM2-135M and its cut of ten layers on word problems; two new tokens where it is quick."""
    return _run("pair", pair_shape(options), options, console, contenders=PADDED)


def pair_shape(options: Options) -> Shape:
    """Of the real pair, where it is here."""
    if missing := [str(folder) for folder in REAL if not folder.is_dir()]:
        raise SystemExit(f"pair: {missing[0]} is not here; make smollm makes it")
    limit = 2 if options.quick else STEP.limit
    return Shape(lengths=(limit,) * len(STEP.lengths), limit=limit, real=True)


def _run(
    title: str,
    shape: Shape,
    options: Options,
    console: Console,
    *,
    contenders: Sequence[str] = CONTENDERS,
) -> Comparison:
    asked = {"precision": options.precision, "group": options.group}
    shape = replace(shape, divergence=options.divergence, **asked)
    result, facts = compare(
        sys.modules[__name__],
        shape,
        options,
        contenders=contenders,
    )
    check_work(title, result, facts, tokens=shape.tokens)
    prompts = "prompts" if shape.real else f"prompts of {shape.prompt} tokens"
    comparison_table(
        f"{title}: {len(shape.lengths) // shape.group} {prompts}, {shape.tokens} response tokens a "
        f"step on every side, {shape.divergence}, {shape.precision}",
        result,
        console,
    )
    return result


def check_work(
    title: str, result: Comparison, facts: dict[str, dict[str, Any]], *, tokens: int
) -> None:
    """Note the tokens of each step, and refuse a comparison of different work."""
    result.notes["tokens_a_step"] = {name: fact["tokens"] for name, fact in facts.items()}
    meant = facts["ours"]["attention"]
    for name, fact in facts.items():
        if set(fact["tokens"]) != {tokens} or fact["attention"] != meant:
            raise SystemExit(
                f"{title}: {name} trained on {fact['tokens']} tokens a step with "
                f"{fact['attention']} attention, where {tokens} and {meant} were meant. The "
                "numbers would compare different work."
            )


def hush() -> None:
    """Silence the lines that trainers print about their settings, which would bury the tables."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)
