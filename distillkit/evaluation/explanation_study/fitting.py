"""Maximum likelihood: a mixture fitted to points, by EM or by gradient."""

from importlib.util import find_spec

import numpy as np
import torch

from distillkit.core.errors import ConfigError
from distillkit.evaluation.explanation_study.mixture import Array, Mixture
from distillkit.evaluation.explanation_study.settings import Fit

STEPS, RATE = 600, 0.05
"""Of Adam, whose rate falls to zero along a cosine."""

STARTS, ITERATIONS, FLOOR = 5, 1000, 1e-6
"""Of EM: how often it begins anew, how long it goes on, and what is added to variances."""


def fit(points: Array, components: int, *, how: Fit, seed: int) -> Mixture:
    """The mixture under which points [n, D] are likeliest.

    Args:
        points: to be explained.
        components: Gaussians.
        how: by EM from k-means, the best of several starts, or by Adam from EM's k-means.
        seed: of the starts.
    """
    return {Fit.em: _by_em, Fit.gradient: _by_gradient}[how](points, components, seed)


def check_installed() -> None:
    """Refuse to begin where nothing can be fitted.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise ConfigError(
            "mixtures are fitted by scikit-learn, which is not installed. "
            "pip install 'distillkit[study]'."
        )


def _by_em(points: Array, components: int, seed: int) -> Mixture:
    from sklearn.mixture import GaussianMixture

    found = GaussianMixture(
        components,
        covariance_type="diag",
        reg_covar=FLOOR,
        max_iter=ITERATIONS,
        n_init=STARTS,
        random_state=seed,
    ).fit(points)
    return Mixture(found.weights_, found.means_, found.covariances_)


def _by_gradient(points: Array, components: int, seed: int) -> Mixture:
    from sklearn.cluster import KMeans

    begun = KMeans(components, n_init=1, random_state=seed).fit(points).cluster_centers_
    data = torch.from_numpy(points)
    means = torch.from_numpy(begun.astype(np.float64)).requires_grad_()
    spreads = torch.full_like(means, float(np.log(points.std()))).requires_grad_()
    scores = torch.zeros(components, dtype=torch.float64).requires_grad_()
    moves = torch.optim.Adam([means, spreads, scores], lr=RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(moves, STEPS)
    for _ in range(STEPS):
        each = torch.distributions.Normal(means, spreads.exp()).log_prob(data[:, None]).sum(-1)
        loss = -(each + scores.log_softmax(0)).logsumexp(1).mean()
        moves.zero_grad()
        loss.backward()
        moves.step()
        falling.step()
    return Mixture(
        scores.softmax(0).detach().numpy(),
        means.detach().numpy(),
        (2 * spreads).exp().detach().numpy(),
    )
