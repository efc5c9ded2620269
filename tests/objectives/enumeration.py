"""All responses of a bigram student, each with its probability: expectations without sampling.

Two words and an end token, at most four tokens: 31 responses, the 16 without an end are truncated.
Everything is float64, so an estimator's mean is exact to the last digits and so is its variance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distillkit.core.types import Author, Response, Rollout
from distillkit.models.forms.decoder_only import DecoderOnly
from distillkit.objectives.base import Credit, Objective, Scored
from tests.tiny import CPU, TableModel, example, opinion

ENTRIES, END, WORDS, PROMPT = 3, 0, (1, 2), 2

Text = tuple[int, ...]


def prefixes(limit: int = 4) -> list[Text]:
    """Every text after which a token is drawn, the empty one first."""
    found: list[Text] = [()]
    for _ in range(limit - 1):
        found += [(*text, word) for text in found if len(text) == len(found[-1]) for word in WORDS]
    return found


def responses(limit: int = 4) -> list[Text]:
    """Every response: ended by the end token, or cut at the limit."""
    whole = [(*text, token) for text in prefixes(limit) for token in (END, *WORDS)]
    return [text for text in whole if text[-1] == END or len(text) == limit]


def along(table: Tensor, text: Text) -> Tensor:
    """Entries of a table [V, V] at the tokens of a text, each after the one before it [T]."""
    return table[[PROMPT, *text][: len(text)], list(text)]


@dataclass(frozen=True)
class World:
    """Who learns, who judges, who draws.

    Attributes:
        student: logits [V, V].
        teacher: logits [V, V].
        drawn: log-probabilities [V, V] of what tokens are drawn from.
        writer: log-probabilities [V, V] of the student when it drew.
    """

    student: Tensor
    teacher: Tensor
    drawn: Tensor
    writer: Tensor

    @property
    def q(self) -> Tensor:
        """Log-probabilities of the student [V, V]."""
        return self.student.log_softmax(-1)

    @property
    def p(self) -> Tensor:
        """Log-probabilities of the teacher [V, V]."""
        return self.teacher.log_softmax(-1)

    def probability(self, text: Text) -> Tensor:
        """That this text is drawn, or begins what is."""
        return along(self.drawn, text).sum().exp()

    def rollout(self, text: Text, *, name: str = "asked", reward: float | None = None) -> Rollout:
        """A response with all that is known of it when it has been drawn."""
        log_probs, ours, theirs = (
            tuple(along(table, text).tolist()) for table in (self.drawn, self.writer, self.p)
        )
        response = Response(
            text,
            truncated=text[-1] != END,
            author=Author.student if self.drawn is self.writer else Author.mixture,
            log_probs=log_probs,
            of_student=ours,
            of_teacher=theirs,
        )
        return Rollout(example(name), response, reward)


def world(seed: int, *, alpha: float = 0.0, spread: float = 1.0) -> World:
    """Random tables; tokens are drawn from alpha of the teacher and 1 - alpha of the student."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = spread * torch.randn(
        2, ENTRIES, ENTRIES, generator=generator, dtype=torch.float64
    )
    q, p = student.log_softmax(-1), teacher.log_softmax(-1)
    return World(
        student, teacher, (alpha * p.exp() + (1 - alpha) * q.exp()).log() if alpha else q, q
    )


def scored(
    objective: Objective, made: World, rollouts: Sequence[Rollout], weights: Sequence[float]
) -> Scored:
    """A micro-batch of these rollouts with credit and the teacher's opinion, all in float64."""
    texts = [rollout.response.tokens for rollout in rollouts]
    earned = objective.credit(rollouts, weights)
    batch = DecoderOnly().collate([[PROMPT]] * len(texts), texts, pad_id=END, device=CPU)
    shares = [share for share, text in zip(weights, texts, strict=True) for _ in text]
    return Scored(
        student=batch,
        weights=torch.tensor(shares, dtype=torch.float64),
        credit=earned
        and Credit(
            *(
                torch.cat([getattr(part, name) for part in earned])
                for name in ("advantages", "exact", "drawn")
            ),
            total=earned[0].total,
        ),
        opinion=opinion(TableModel(made.teacher), batch),
    )


def run(
    objective: Objective, made: World, rollouts: Sequence[Rollout], weights: Sequence[float] = ()
) -> tuple[dict[str, float], Tensor]:
    """What an objective reports, and its gradient with respect to the student's table [V, V].

    Every position weighs 1 unless the rows are given weights.
    """
    student = TableModel(made.student)
    batch = scored(objective, made, rollouts, weights or [1.0] * len(rollouts))
    numbers = objective.backward(batch, student=student)
    assert student.weight.grad is not None
    return numbers, student.weight.grad.T


def moments(
    made: World, estimate: Callable[[Text], Tensor], texts: Sequence[Text] = ()
) -> tuple[Tensor, float]:
    """Mean of an estimator over what is drawn, and the trace of its covariance."""
    found = [(made.probability(text), estimate(text)) for text in texts or responses()]
    mean = torch.stack([share * value for share, value in found]).sum(0)
    spread = torch.stack([share * (value - mean).square().sum() for share, value in found])
    return mean, spread.sum().item()


def expected(objective: Objective, made: World) -> Tensor:
    """Mean of an objective's gradient over single responses [V, V]."""
    return moments(made, lambda text: run(objective, made, [made.rollout(text)])[1])[0]


def slope(value: Callable[[Tensor], Tensor], table: Tensor) -> Tensor:
    """Derivative of a function of log-probabilities [V, V] by the logits [V, V], by autograd."""
    leaf = table.clone().requires_grad_()
    (found,) = torch.autograd.grad(value(leaf.log_softmax(-1)), leaf)
    return found


def whole(made: World) -> Tensor:
    """Gradient of KL(student || teacher) over whole responses, by autograd."""

    def value(q: Tensor) -> Tensor:
        ours, theirs = (
            torch.stack([along(table, text).sum() for text in responses()]) for table in (q, made.p)
        )
        return (ours.exp() * (ours - theirs)).sum()

    return slope(value, made.student)


def scores(made: World, text: Text) -> Tensor:
    """Derivative of each token's log-probability by the student's table, by hand [T, V, V]."""
    found = torch.zeros(len(text), ENTRIES, ENTRIES, dtype=torch.float64)
    for place, (before, token) in enumerate(zip((PROMPT, *text), text, strict=False)):
        found[place, before] = -made.q[before].exp()
        found[place, before, token] += 1
    return found


def single_steps(made: World, text: Text) -> Tensor:
    """Derivative of KL(student || teacher) at each position, by hand [T, V, V]."""
    found = torch.zeros(len(text), ENTRIES, ENTRIES, dtype=torch.float64)
    for place, before in enumerate((PROMPT, *text)[: len(text)]):
        q, gap = made.q[before].exp(), made.q[before] - made.p[before]
        found[place, before] = q * (gap - (q * gap).sum())
    return found
