"""Benchmarks of EleutherAI's lm-evaluation-harness, with its prompts, its scoring, its numbers."""

from distillkit.core.bounds import check_least
from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import BenchmarkSettings, Evidence


@spec("metric/lm_eval")
class Harness(BenchmarkSettings, Ratios):
    """Scores as ``<task>/<metric>``, with a third part where a task reads answers in two ways.

    They are those of ``lm_eval run``; groups such as mmlu also have a number of their own.
    """

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("metric.lm_eval.tasks is empty; name a task, for example [gsm8k].")
        for name, least in (("limit", 1), ("fewshot", 0), ("longest", 1), ("batch_size", 1)):
            check_least(self, "metric.lm_eval.", least, name)

    def measure(self, evidence: Evidence) -> Tally:
        return Tally(evidence.benchmark(self))
