"""How training on one's own text fares: numbers of what a student, or its mixture, just wrote.

The failures that they show: repetition, then length inflation, then collapse (Stable-OPD,
arXiv:2604.08527), and text that earns its reward while the teacher would not write it (MiniLLM,
arXiv:2306.08543, section 2.2).
"""

from collections.abc import Sequence

import numpy as np

from distillkit.core.types import Author, Response, Rollout
from distillkit.metrics.diversity import n_grams
from distillkit.statistics.arrays import Array

ORDER = 4
"""Tokens of a run whose repetition counts."""

FLOOR = -100.0
"""Least log-probability reckoned with, in nats: a teacher that rules a token out (-1e30, -inf)
would make every mean infinite. Far below what a model gives a token that is really drawn."""


def diagnose(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Numbers of one update's own text; rows by the dataset or the teacher alone are left out.

    Means are over responses for lengths and rewards, and over all tokens together for the rest.
    A number is left out where no row has what it is made of; without a row of own text all are.

    - ``response_length``: tokens, the end token included.
    - ``repetition``: share of 4-grams that their response has already had; 0 where none is so long.
    - ``end_share``: share of tokens that end a response. Unlike the share of truncated rows it
      does not depend on the length limit: its inverse is the length to expect without one.
    - ``entropy``: of the student, nats a token, estimated by -log q.
    - ``student_log_prob``, ``teacher_log_prob``: of the tokens as written, nats a token.
    - ``reverse_kl``: KL(student || teacher), nats a token, estimated by exp(d) - 1 - d with
      d = log p - log q (k3 of Schulman's "Approximating KL Divergence"). Never negative. Its
      gradient is another one's (forward KL's), so watch it and never train on it.
    - ``importance_weight``, ``importance_weight_max``: of w below, where a mixture wrote; the
      mean must be near 1.
    - ``reward``, ``reward_spread``: mean and standard deviation (of the population).
    - ``reward_teacher_correlation``: Pearson's, over responses, of the reward and the teacher's
      mean log-probability; left out where either does not vary. Below 0, what is rewarded is what
      the teacher would not write.

    Entropy and reverse KL weigh each token by w = q / (what it was drawn from), which makes them
    unbiased for the student's distribution after the prefixes that were written, whatever the
    temperature or the teacher's part in the writing; sampling that rules tokens out (top-k, top-p,
    min-p, greedy) makes them too low. Log-probabilities below ``FLOOR`` count as ``FLOOR``, so
    that all numbers are finite: where the teacher rules out what is written, the reverse KL and
    the teacher's log-probability are bounds.
    """
    own = [r for r in rollouts if r.response.author in (Author.student, Author.mixture)]
    if not own:
        return {}
    responses = [rollout.response for rollout in own]
    return {**_of_text(responses), **_of_models(responses), **_of_rewards(own)}


def _of_text(responses: Sequence[Response]) -> dict[str, float]:
    tokens = sum(len(response.tokens) for response in responses)
    grams = [n_grams(response.tokens, ORDER) for response in responses]
    count = sum(map(len, grams))
    numbers = {
        "response_length": tokens / len(responses),
        "repetition": 1 - sum(len(set(each)) for each in grams) / count if count else 0.0,
    }
    if tokens:
        numbers["end_share"] = sum(not r.truncated for r in responses) / tokens
    return numbers


def _of_models(responses: Sequence[Response]) -> dict[str, float]:
    # Of a mixture's text nothing is known without what it was drawn from.
    weighed = [r for r in responses if r.of_student and (r.log_probs or r.author is Author.student)]
    weights = [_weights(r) for r in weighed if r.author is Author.mixture]
    parts = {
        "entropy": [_weights(r) * -_nats(r.of_student) for r in weighed],
        "student_log_prob": [_nats(r.of_student) for r in responses if r.of_student],
        "teacher_log_prob": [_nats(r.of_teacher) for r in responses if r.of_teacher],
        "reverse_kl": [_weights(r) * _k3(r) for r in weighed if r.of_teacher],
        "importance_weight": weights,
    }
    numbers = {name: float(np.concatenate(part).mean()) for name, part in parts.items() if part}
    if weights:
        numbers["importance_weight_max"] = float(np.concatenate(weights).max())
    return numbers


def _nats(log_probs: Sequence[float]) -> Array:
    """Log-probabilities [T], no lower than the floor."""
    return np.maximum(np.asarray(log_probs, dtype=np.float64), FLOOR)


def _weights(response: Response) -> Array:
    """The student's probability over that of the drawing [T]; 1 where the drawing was not noted."""
    drawn = response.log_probs or response.of_student
    return np.exp(_nats(response.of_student) - _nats(drawn))


def _k3(response: Response) -> Array:
    d = _nats(response.of_teacher) - _nats(response.of_student)
    return np.expm1(d) - d


def _of_rewards(own: Sequence[Rollout]) -> dict[str, float]:
    rewards = [rollout.reward for rollout in own if rollout.reward is not None]
    if not rewards:
        return {}
    numbers = {"reward": float(np.mean(rewards)), "reward_spread": float(np.std(rewards))}
    both = [
        (rollout.reward, _nats(rollout.response.of_teacher).mean())
        for rollout in own
        if rollout.reward is not None and rollout.response.of_teacher
    ]
    if len(both) > 1:
        # Loads scipy.stats, which takes half a second; rewards are rare.
        from distillkit.statistics.correlation import pearson

        correlation = pearson(*zip(*both, strict=True)).estimate
        if not np.isnan(correlation):
            numbers["reward_teacher_correlation"] = correlation
    return numbers
