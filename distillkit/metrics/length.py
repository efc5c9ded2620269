"""How long responses are, and how many the length limit cuts."""

from distillkit.core.spec import spec
from distillkit.metrics.base import Ratios, Tally
from distillkit.metrics.evidence import Evidence, Whose


@spec("metric/length")
class Length(Ratios):
    """Of greedy responses: mean ``response_tokens``, and ``truncated_share``.

    The end token counts as a token: it is written, paid for and learnt like any other. A cut
    response has none.
    """

    def measure(self, evidence: Evidence) -> Tally:
        return Tally(
            {
                example.id: {
                    "response_tokens": [len(text.tokens), 1],
                    "truncated_share": [float(text.truncated), 1],
                }
                for example, text in zip(evidence.examples, evidence.greedy(Whose.own), strict=True)
            }
        )
