"""A language model as judge of the measured model's text against the reference.

After the GPT-4 score of MiniLLM (arXiv:2306.08543): scores from 1 to 10, and the sum of the model's
over the sum of the reference's. A judge prefers a place (Zheng et al., arXiv:2306.05685), so both
orders are judged, and an example counts where both replies can be read.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from distillkit.core.errors import ConfigError
from distillkit.core.spec import spec
from distillkit.core.thoughts import END
from distillkit.core.types import Example, Message
from distillkit.endpoints.chat import ChatEndpoint
from distillkit.endpoints.replies import Reply, complaint, is_whole
from distillkit.metrics.base import Ratios, Record, Tally
from distillkit.metrics.evidence import Evidence, Whose

INSTRUCTIONS = """\
[Question]
{question}

[Start of Answer 1]
{first}
[End of Answer 1]

[Start of Answer 2]
{second}
[End of Answer 2]

Judge the two answers to the question above. Rate how helpful, relevant, accurate and detailed \
each is on a scale from 1 to 10, where higher is better. Do not let the order of the answers or \
their length influence you.
Write a single line that holds nothing but two numbers, the score of Answer 1 and the score of \
Answer 2, separated by a space."""

PLACES = ("question", "first", "second")
NUMBER = r"(10(?:\.0+)?|[1-9](?:\.\d+)?)(?: ?/ ?10)?"
SCORES = re.compile(rf"(?:scores?:)?\s*{NUMBER}(?:\s*[,;|]\s*|\s+){NUMBER}\s*\.?", re.IGNORECASE)

Scores = tuple[float, float]


@dataclass(kw_only=True, slots=True)
class JudgeEndpoint(ChatEndpoint):
    """Where the judge is served, its fields named as the user types them."""

    FIELD: ClassVar = "metric.judge.endpoint"


@spec("metric/judge")
class Judge(Ratios):
    """Scores by a model behind an OpenAI-compatible server, of greedy responses.

    ``judge_ratio`` sum of the model's scores over sum of the reference's; ``judge_score`` and
    ``judge_reference`` their means; ``judge_wins`` share of examples on which the model's mean over
    both orders is higher, an equal one counting half; ``judge_position_bias`` mean score of the
    answer shown first less that of the second; ``judge_unparsable`` share of replies without two
    scores. Examples without a reference are left out.
    """

    endpoint: JudgeEndpoint
    """The judge."""
    instructions: str = INSTRUCTIONS
    """What it is asked, with {question}, {first} and {second}; scores must open the reply."""
    limit: int | None = None
    """Examples judged, from the first; null for all."""

    def __post_init__(self) -> None:
        for place in PLACES:
            if f"{{{place}}}" not in self.instructions:
                raise ConfigError(
                    f"metric.judge.instructions must hold {{{place}}}, got {self.instructions!r}."
                )
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"metric.judge.limit must be at least 1, got {self.limit}.")

    def measure(self, evidence: Evidence) -> Tally:
        written = zip(evidence.examples, evidence.greedy(Whose.own), strict=True)
        judged = [(example, own.text) for example, own in written if example.reference]
        judged = judged[: self.limit]
        questions = [
            [self._question(example, *answers)]
            for example, text in judged
            for answers in ((text, example.reference), (example.reference, text))
        ]
        replies = self.endpoint.ask(
            questions, store=evidence.store, poll=evidence.poll, say=evidence.say, keeps=_keeps
        )
        read = [scores(reply.text) for reply in replies]
        warning = complaint(
            [reply for reply, found in zip(replies, read, strict=True) if found is None],
            len(replies),
            who=f"{self.endpoint.FIELD}.model={self.endpoint.model}",
            lack="hold no two scores",
            key=self.endpoint.key_variable,
        )
        if warning:
            evidence.say(warning)
        pairs = zip(judged, read[::2], read[1::2], strict=True)
        return Tally({example.id: record(ahead, behind) for (example, _), ahead, behind in pairs})

    def _question(self, example: Example, first: str, second: str) -> Message:
        question = "\n\n".join(turn.content for turn in example.prompt)
        values = dict(zip(PLACES, (question, first, second), strict=True))
        # In one pass, so that an answer that holds "{second}" stays as it is.
        pattern = rf"\{{({'|'.join(PLACES)})\}}"
        return Message("user", re.sub(pattern, lambda place: values[place[1]], self.instructions))


def _keeps(reply: Reply) -> bool:
    """What can be read is a verdict, even where words that followed it were cut."""
    return is_whole(reply) or scores(reply.text) is not None


def scores(text: str) -> Scores | None:
    """The two scores that a judge's reply states, None where it does not.

    The first line that is not empty, after the end of a thought where there is one, must be two
    numbers from 1 to 10 with space, comma, semicolon or bar between them. ``Score:`` before them,
    ``/10`` after each and Markdown's emphasis may be there, other words may not.
    """
    lines = text.rpartition(END)[2].replace("*", "").split("\n")
    first = next(filter(None, map(str.strip, lines)), "")
    found = SCORES.fullmatch(first)
    return (float(found[1]), float(found[2])) if found else None


def record(ahead: Scores | None, behind: Scores | None) -> Record:
    """An example's sums and weights, from the scores with the model's answer first and second."""
    unparsable = {"judge_unparsable": [(ahead is None) + (behind is None), 2]}
    if ahead is None or behind is None:
        # One order alone would carry the judge's preference for a place into the sums.
        return unparsable
    own, reference = ahead[0] + behind[1], ahead[1] + behind[0]
    return {
        "judge_ratio": [own, reference],
        "judge_score": [own, 2],
        "judge_reference": [reference, 2],
        "judge_wins": [(own > reference) + 0.5 * (own == reference), 1],
        "judge_position_bias": [ahead[0] - ahead[1] + behind[0] - behind[1], 2],
        **unparsable,
    }
