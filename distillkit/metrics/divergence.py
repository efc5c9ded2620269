"""How far the two models' next-token distributions are apart, on whose text."""

from typing import ClassVar

from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose
from distillkit.metrics.token_mean import token_mean

NUMBERS = ("forward_kl", "reverse_kl", "overlap", "top1", "top5")


@spec("metric/divergence")
class TokenDivergence(Ratios):
    """Means over tokens, each on the text of ``dataset``, ``teacher`` and ``own``.

    ``forward_kl_own`` is KL(teacher || measured) in nats on the measured model's own samples,
    ``reverse_kl_own`` is KL(measured || teacher), ``overlap_own`` 1 - total variation, and
    ``top1_own`` and ``top5_own`` the shares of likeliest tokens in common.
    """

    COMPARES: ClassVar = True

    def measure(self, evidence: Evidence) -> Tally:
        compared = [(source, evidence.compared(source)) for source in Whose]
        return Tally(
            {
                example.id: {
                    f"{number}_{source}": token_mean(getattr(text, number) for text in texts[place])
                    for source, texts in compared
                    for number in NUMBERS
                }
                for place, example in enumerate(evidence.examples)
            }
        )
