"""Quality on a split: greedy answers judged by the dataset, and likelihood of the references."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from distillkit.core.types import Answer, Example
from distillkit.datasets.base import Dataset
from distillkit.datasets.judging import answered
from distillkit.distributed.placement import ALONE, Placement
from distillkit.evaluation.foretelling import text_bytes
from distillkit.evaluation.passages import PassageQuality, continued, mean_kl
from distillkit.metrics.proportion import Proportion
from distillkit.models.generation import generate
from distillkit.models.language_model import LanguageModel, evaluating
from distillkit.models.likelihood import total_nll
from distillkit.models.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found on a set of examples."""

    accuracy: Proportion
    """Right answers among the examples that have one."""
    nll: float
    """Mean negative log-likelihood of a reference token in nats, NaN without references."""
    truncated: float
    """Share of answers cut by the length limit."""
    answers: Sequence[Answer]
    """In the order of the examples."""

    @property
    def count(self) -> int:
        """Examples that were answered."""
        return len(self.answers)

    @property
    def score(self) -> float:
        """What 'best' means, higher is better: accuracy, or likelihood where nothing is judged."""
        return self.accuracy.compute() if self.accuracy.total else -self.nll

    def numbers(self) -> dict[str, float]:
        """Flat numbers for trackers."""
        judged = {"accuracy": self.accuracy.compute()} if self.accuracy.total else {}
        return {**judged, "nll": self.nll, "truncated_share": self.truncated}


def measure(
    model: LanguageModel,
    dataset: Dataset,
    examples: Sequence[Example],
    *,
    sampling: Sampling,
    teacher: LanguageModel | None = None,
    poll: Callable[[], None] = lambda: None,
    placement: Placement = ALONE,
) -> Quality | PassageQuality:
    """Answer greedily, judge, and score the references; of running text, score it and go on.

    Args:
        model: who answers; left in the mode it was in.
        dataset: the judge.
        examples: at least one.
        sampling: lengths and batch size; temperature is set to 0.
        teacher: whom running text compares the model with, if anybody.
        poll: called between batches; may raise to stop.
        placement: the processes that share the examples; each has the whole of the models now.
    """
    greedy = Sampling(
        temperature=0, max_new_tokens=sampling.max_new_tokens, batch_size=sampling.batch_size
    )
    if not any(example.prompt for example in examples):
        return _measure_passages(
            model, teacher, examples, sampling=greedy, poll=poll, placement=placement
        )

    def answer() -> list[Answer]:
        mine = placement.mine(examples)
        prompts = [model.prompts.prompt_ids(example) for example in mine]
        written = generate(model, prompts, greedy, seed=0, poll=poll)
        return [
            answered(example, response, model.tokenizer, judge=dataset)
            for example, response in zip(mine, written, strict=True)
        ]

    answers = placement.gather(placement.together(answer))
    verdicts = [item.correct for item in answers if item.correct is not None]
    return Quality(
        accuracy=Proportion(sum(verdicts), len(verdicts)),
        nll=reference_nll(
            model, examples, batch_size=sampling.batch_size, poll=poll, placement=placement
        ),
        truncated=sum(item.truncated for item in answers) / len(answers),
        answers=answers,
    )


def _measure_passages(
    model: LanguageModel,
    teacher: LanguageModel | None,
    examples: Sequence[Example],
    *,
    sampling: Sampling,
    poll: Callable[[], None],
    placement: Placement,
) -> PassageQuality:
    size = sampling.batch_size
    found = likelihood(model, examples, batch_size=size, poll=poll, placement=placement)
    return PassageQuality(
        nll=found.nll,
        bits_per_byte=found.bits_per_byte,
        kl_to_teacher=None
        if teacher is None
        else mean_kl(model, teacher, examples, batch_size=size, poll=poll, placement=placement),
        count=len(examples),
        answers=placement.told(lambda: continued(model, examples, sampling=sampling, poll=poll)),
    )


def reference_nll(
    model: LanguageModel,
    examples: Sequence[Example],
    *,
    batch_size: int,
    poll: Callable[[], None],
    placement: Placement = ALONE,
) -> float:
    """Mean negative log-likelihood of a reference token in nats, NaN without references."""
    return likelihood(model, examples, batch_size=batch_size, poll=poll, placement=placement).nll


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely references are, all together."""

    nats: float
    tokens: float
    bytes: float

    @property
    def nll(self) -> float:
        """Nats a token; NaN without one."""
        return self.nats / self.tokens if self.tokens else float("nan")

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte; NaN without one."""
        return self.nats / (self.bytes * math.log(2)) if self.bytes else float("nan")


def likelihood(
    model: LanguageModel,
    examples: Sequence[Example],
    *,
    batch_size: int,
    poll: Callable[[], None],
    placement: Placement = ALONE,
) -> Likelihood:
    """How likely a model finds the references of all processes together."""
    mine = placement.mine(examples)
    found = placement.together(lambda: _nats(model, mine, batch_size=batch_size, poll=poll))
    return Likelihood(**placement.add_up(asdict(found)))


def _nats(
    model: LanguageModel, examples: Sequence[Example], *, batch_size: int, poll: Callable[[], None]
) -> Likelihood:
    """Of the references that are given here."""
    known = sorted((e for e in examples if e.reference), key=lambda e: len(e.reference))
    nats, count, size = 0.0, 0, 0
    with evaluating(model):
        for start in range(0, len(known), batch_size):
            poll()
            part = known[start : start + batch_size]
            prompts = [model.prompts.prompt_ids(example) for example in part]
            rooms = [model.context - len(prompt) for prompt in prompts]
            references = [
                model.reference_ids(example)[:room]
                for example, room in zip(part, rooms, strict=True)
            ]
            nats += total_nll(model.batch(prompts, references), model, chunk_mb=256)
            count += sum(map(len, references))
            told = zip(part, references, strict=True)
            size += sum(text_bytes(model, example, ids) for example, ids in told)
    return Likelihood(nats, count, size)
