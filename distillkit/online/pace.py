"""How fast a target writes with its draft and alone, in turns on the same prompts."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from distillkit.core.types import Author, Example
from distillkit.metrics.speculation import speed_up
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel
from distillkit.models.sampling import Sampling
from distillkit.models.side import Ready
from distillkit.models.speculation import Speculated, Speculator


def pace(
    target: LanguageModel,
    draft: LanguageModel,
    examples: Sequence[Example],
    *,
    sampling: Sampling,
    proposals: int,
    seed: int,
    poll: Callable[[], None],
    rounds: int = 3,
) -> dict[str, float]:
    """Seconds a token of target, draft and both, the ratio that results, and the one foretold.

    ``cost`` is a step of the draft in steps of the target. ``foretold`` takes acceptances for
    independent (arXiv:2211.17192, theorem 3.8) and verifying for as quick as one step.
    ``poll`` is called now and then; it may raise to stop.
    """
    prompts, own = target.prompts.of(examples), draft.prompts.of(examples)
    both = Speculator(Ready(target), Ready(draft), k=proposals)

    def alone(model: LanguageModel, texts: Sequence[Sequence[int]]) -> int:
        written = generate(model, texts, sampling, seed=seed, poll=poll)
        return sum(len(text.tokens) for text in written)

    def together() -> list[Speculated]:
        return both.write(prompts, own, sampling, seed=seed, author=Author.teacher, poll=poll)

    told = together()
    calls: dict[str, Callable[[], int]] = {
        "target": lambda: alone(target, prompts),
        "draft": lambda: alone(draft, own),
        "both": lambda: sum(len(each.response.tokens) for each in together()),
    }
    seconds = _seconds_per_token(calls, rounds)
    overlaps = [chance for each in told for chance in each.overlaps if chance == chance]
    alpha = sum(overlaps) / max(1, len(overlaps))
    cost = seconds["draft"] / seconds["target"]
    return {
        **{f"seconds_per_token_{name}": value for name, value in seconds.items()},
        "alpha": alpha,
        "cost": cost,
        "speed_up": seconds["target"] / seconds["both"],
        "foretold": speed_up(alpha, proposals, cost=cost),
    }


def _seconds_per_token(calls: Mapping[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Of calls that tell how many tokens they wrote: medians over rounds, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            tokens = call()
            taken[name].append((time.perf_counter() - start) / tokens)
    return {name: median(each) for name, each in taken.items()}
