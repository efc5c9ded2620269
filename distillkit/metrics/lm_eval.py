"""Benchmarks of EleutherAI's lm-evaluation-harness, with its prompts, its scoring, its numbers."""

from dataclasses import field

from distillkit.core.bounds import check_least
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import BenchmarkSettings, Evidence


@spec("metric/lm_eval")
class Harness(Ratios):
    """Scores as ``<task>/<metric>``, with a third part where a task reads answers in two ways.

    They are those of ``lm_eval run``; groups such as mmlu also have a number of their own.
    """

    tasks: list[str] = field(default_factory=lambda: ["gsm8k", "arc_easy", "piqa"])
    """Of gsm8k, gsm8k_zeroshot, svamp, multiarith, singleeq, addsub, aqua, hellaswag, boolq, siqa,
    piqa, arc_easy, arc_challenge, winogrande, openbookqa, commonsenseqa, strategyqa, mmlu, bbh, or
    any other name that ``lm_eval ls tasks`` lists."""
    path: str | None = None
    """Folder of JSONL datasets (``<path>/gsm8k/test.jsonl``); null reads the hub's."""
    limit: int | None = None
    """First documents of each task; null for all, which a number to be reported needs."""
    fewshot: int | None = None
    """Examples shown before each question; null for the task's own number."""
    longest: int | None = None
    """Most tokens of a generated answer; null for the task's own limit, mostly 256."""
    chat: bool = False
    """Put prompts into the tokenizer's chat template, as instruct models expect."""
    batch_size: int = 8
    """Prompts read at once; changes numbers by rounding only."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("metric.lm_eval.tasks is empty; name a task, for example [gsm8k].")
        for name, least in (("limit", 1), ("fewshot", 0), ("longest", 1), ("batch_size", 1)):
            check_least(self, "metric.lm_eval.", least, name)

    def measure(self, evidence: Evidence) -> Tally:
        settings = BenchmarkSettings(
            tasks=tuple(self.tasks),
            path=self.path,
            limit=self.limit,
            fewshot=self.fewshot,
            longest=self.longest,
            chat=self.chat,
            batch_size=self.batch_size,
        )
        return Tally(evidence.benchmark(settings))
