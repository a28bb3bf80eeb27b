r"""Soft: fluxes and skies drawn from their Gaussian where some priors have a soft edge at 0.

The density of the amplitudes is :math:`N(a; \mu, C) \prod_j 2\,\Phi(a_j / s_j)`, the product over
the fluxes that are not to be negative. With unit Normal numbers e, :math:`\Phi(a_j / s_j)` is the
probability of :math:`u_j = a_j + s_j e_j > 0`: so u is a Gaussian cut at 0, and a follows from u by
a Gaussian. The cut Gaussian is drawn one coordinate after the other, each given those before it,
with the product of their probabilities as weight (the GHK simulator: Geweke 1991, Hajivassiliou &
McFadden 1998, Econometrica 66, 863). The mean of the weights is the integral of the density,
without bias; with one edge the weight is that integral, and the draw exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import log_ndtr, ndtri_exp

if TYPE_CHECKING:
    from bayesjoint.scene.linear import Linear, Solution

__all__ = ["noise_size", "sample_amplitudes"]

UNFELT_SIGMA = 8.0
"""Standard deviations above 0 from which on an edge changes nothing in double precision."""


def noise_size(linear: Linear) -> int:
    """Unit Normal numbers that a draw of all amplitudes takes."""
    return len(linear.sites) + 2 * len(linear.soft)


@torch.no_grad()
def sample_amplitudes(
    solution: Solution, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplitudes given all else, and the log of their importance weights.

    Parameters
    ----------
    solution : Solution
        The Gaussian of the amplitudes, without the edges.
    noise : tensor, shape (..., `noise_size`)
        Unit Normal numbers.

    Returns
    -------
    amplitudes : tensor, shape (..., m)
        In nJy or image units, in the order of ``solution.linear.sites``.
    log_weight : tensor, shape (...)
        The edges' part of the density, integrated over the amplitudes, is the mean of its
        exponential; 0 where no prior has an edge.
    """
    linear = solution.linear
    m, soft = len(linear.sites), linear.soft
    unit = noise[..., :m].reshape(-1, m).to(solution.factor)
    unit = torch.linalg.solve_triangular(solution.factor.T, unit.T, upper=True).T
    plain = solution.mean + unit.reshape(*noise.shape[:-1], m) * solution.scale
    weight = plain.new_full(plain.shape[:-1], len(soft) * math.log(2.0))
    if not len(soft):
        return plain, weight
    # in units of each amplitude's own precision, as the factor is
    covariance = torch.cholesky_inverse(solution.factor)[:, soft].cpu().numpy()
    scale = solution.scale[soft].cpu().numpy()
    softness = linear.softness[soft].cpu().numpy() / scale
    mean = solution.mean[soft].cpu().numpy() / scale
    total = covariance[soft.cpu().numpy()] + np.diag(softness**2)  # of u
    height = mean / np.sqrt(np.diag(total))
    if height.min() > UNFELT_SIGMA:
        return plain, weight
    # those that the edge cuts most come first: the weights scatter least so
    order = np.argsort(height)
    root = np.linalg.cholesky(total[order][:, order])
    k = len(order)
    uniform = log_ndtr(noise[..., m : m + k].cpu().double().numpy())
    t, log_weight = np.zeros(uniform.shape), np.zeros(uniform.shape[:-1])
    for j in range(k):
        bound = -(mean[order[j]] + t[..., :j] @ root[j, :j]) / root[j, j]
        log_mass = log_ndtr(-bound)
        t[..., j] = -ndtri_exp(uniform[..., j] + log_mass)
        log_weight += log_mass
    u = np.empty_like(t)
    u[..., order] = mean[order] + t @ root.T
    # a given u: the plain draw moved by the regression of a on u (Matheron's rule)
    e = noise[..., m + k :].cpu().double().numpy()
    plain_u = plain[..., soft].cpu().numpy() / scale + softness * e
    change = np.linalg.solve(total, np.moveaxis(u - plain_u, -1, 0).reshape(k, -1))
    change = (covariance @ change).T.reshape(*u.shape[:-1], m)
    moved = plain + torch.as_tensor(change).to(plain) * solution.scale
    return moved, weight + torch.as_tensor(log_weight).to(weight)
