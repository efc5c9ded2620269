"""How likely tokens are, each against everything else; exact near 0 and near 1."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.core.types import PerToken
from distillkit.divergences.apart import FLOOR

PerPlace = Float[Tensor, "M"]


class Odds(NamedTuple):
    """How likely a text's tokens are, each against all others; both are exact near 0 and 1."""

    log_probs: PerToken
    rest: PerToken
    """Log-probability of all other entries together."""

    def sure(self) -> PerToken:
        """Log-probabilities in fp64, by the rest where that is the smaller one."""
        wide = self.log_probs.double()
        by_rest = torch.log1p(-self.rest.double().exp())
        return by_rest.where(self.rest < self.log_probs, wide).clamp_min(FLOOR)


def against_all_else(log_probs: PerPlace) -> Float[Tensor, "M 2"]:
    """Log-probabilities [M], and those of everything else, as the two entries of a support."""
    rest = torch.log(-torch.expm1(log_probs)).clamp_min(FLOOR)
    return torch.stack([log_probs, rest], dim=-1)


def by_token(
    slope: Float[Tensor, "M 2"],
    mine: Float[Tensor, "M 2"],
    token: PerPlace,
    rest: PerPlace,
) -> Float[Tensor, "M 2"]:
    """The slope by a chunk's two entries as one by a token's, and by what stands against it.

    Args:
        slope: by the chunk that a token belongs to, and by everything else than the chunk.
        mine: the student's log-probabilities of both.
        token: of the token.
        rest: of everything else than the token.

    Everything else than a chunk is more likely the likelier everything else than one of its tokens
    is. Where a token is not likely itself, both are said of the token: there that is as exact, and
    finite.
    """
    odds = mine[:, 0] - mine[:, 1]
    through_rest = slope[:, 1] * (odds + rest - token).exp()
    through_token = slope[:, 0] - slope[:, 1] * odds.exp()
    likely = rest < token
    return torch.stack(
        [
            slope[:, 0].where(likely, through_token),
            through_rest.where(likely, 0.0),
        ],
        dim=-1,
    )
