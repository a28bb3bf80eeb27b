"""Polish: the last way to a maximum whose curvature is not the one that Gauss and Newton take it to have.

Where the light of sources overlaps, or a prior bends, second derivatives of the model count as well, and damped steps creep. In
coordinates whitened by the precision at hand the true one differs from unity in a few directions alone, which the quasi-Newton
method of Broyden, Fletcher, Goldfarb and Shanno learns in about as many gradients (Nocedal & Wright 2006, ch. 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize

if TYPE_CHECKING:
    from bayesjoint.infer.lm import State
    from bayesjoint.scene.scene import Scene

__all__ = ["polish"]

STEEP = 1e-4
"""Slope, a standard deviation along any direction, at which it ends."""
MOST = 300
"""Iterations at most."""
NOWHERE = 1e30
"""What stands for an infinite objective, which a line search cannot interpolate."""


def polish(scene: Scene, state: State, prior: bool) -> torch.Tensor | None:
    """A higher point than the state's; None where none was found, or where the precision is singular."""
    factor, failed = torch.linalg.cholesky_ex(state.precision)
    if failed:
        return None

    def place(u: np.ndarray) -> torch.Tensor:
        return state.z + torch.linalg.solve_triangular(factor.T, torch.as_tensor(u).to(state.z)[:, None], upper=True)[:, 0]

    def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
        x = place(u).detach().requires_grad_(True)
        value = scene.log_density(x) if prior else scene.log_likelihood(x).sum()
        if not torch.isfinite(value):
            return NOWHERE, np.zeros_like(u)
        (g,) = torch.autograd.grad(value, x)
        slope = torch.linalg.solve_triangular(factor, g[:, None], upper=False)[:, 0]
        return state.log_density - float(value.detach()), -slope.cpu().double().numpy()

    found = minimize(objective, np.zeros(len(state.z)), jac=True, method="BFGS", options={"gtol": STEEP, "maxiter": MOST})
    return place(found.x) if found.fun < 0 else None
