"""Per-token rewards to returns: what comes after a token, discounted, averaged, whitened.

All of it in fp64: a long response adds up thousands of numbers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from distillkit.core.types import Response


def log_ratios(response: Response) -> Tensor:
    """log teacher - log student of each token, both as they were when it was drawn [T]."""
    teacher, student = _wide(response.of_teacher), _wide(response.of_student)
    assert len(teacher) == len(student) == len(response.tokens), "not all of it has been scored"
    return teacher - student


def drawn(response: Response) -> Tensor:
    """Log-probability of each token under the distribution it was drawn from [T]."""
    return _wide(response.log_probs)


def importance(response: Response) -> Tensor:
    """Probability under the student over that under the distribution drawn from [T].

    The token's own factor of the whole prefix's product (MiniLLM, arXiv:2306.08543, eq. 5). It is
    exactly 1 where the student drew alone.
    """
    return (_wide(response.of_student) - drawn(response)).exp()


def returns(rewards: Tensor, gamma: float) -> Tensor:
    """G_t = r_t + gamma G_{t+1} [T]."""
    total, found = 0.0, []
    for reward in reversed(rewards.tolist()):
        total = reward + gamma * total
        found.append(total)
    return torch.tensor(found[::-1], dtype=torch.float64)


def later_returns(rewards: Tensor, gamma: float) -> Tensor:
    """gamma G_{t+1}: what is to come without the token's own reward, 0 for the last token [T]."""
    return gamma * torch.cat([returns(rewards, gamma)[1:], rewards.new_zeros(1)])


def remaining(count: int) -> Tensor:
    """Tokens from each position on, its own included: T, ..., 2, 1 [T]."""
    return torch.arange(count, 0, -1, dtype=torch.float64)


def whiten(rows: Sequence[Tensor]) -> list[Tensor]:
    """Rows with the mean 0 and the variance 1 over all their entries; padding is none of them."""
    everything = torch.cat(list(rows))
    spread = (everything.var(correction=0) + 1e-8).sqrt()
    return [(row - everything.mean()) / spread for row in rows]


def _wide(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
