"""Density: a scene's log density with its gradient from one pass, which autograd takes as one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from bayesjoint.scene.scene import Scene

__all__ = ["Density", "derived_of", "score", "values_of"]


def score(scene: Scene, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log likelihood of each image, log prior (with its Jacobian), and the gradient of their sum by z; no graph is made."""
    theta, prior, pull = scene.chart.scored(z)
    full = scene.full(theta)
    by_image, slope = [], torch.zeros_like(full)
    for term in scene.likelihoods:
        value, grad = term.score(full)
        by_image.append(value)
        slope += grad
    by_site = scene.links.pulled(full[: scene.layout.count], slope) if scene.links else slope[: len(theta)]
    return torch.stack(by_image), prior, pull(by_site)


@torch.no_grad()
def values_of(scene: Scene, z: np.ndarray) -> np.ndarray:
    """Values of the sites at flat draws (s, n)."""
    out = np.empty_like(z)
    for k, row in enumerate(z):
        out[k] = scene.chart.values(torch.as_tensor(row, dtype=scene.dtype).to(scene.device))[0].cpu().double().numpy()
    return out


@torch.no_grad()
def derived_of(scene: Scene, theta: np.ndarray) -> dict[str, np.ndarray]:
    """What follows from the sites by links, by name, at values theta (s, n): shapes (s,)."""
    places = {place: name for name, place in scene.layout.derived.items()}
    out = np.empty((len(theta), len(places)))
    for k, row in enumerate(theta if places else ()):
        out[k] = scene.full(torch.as_tensor(row, dtype=scene.dtype).to(scene.device)).cpu().double().numpy()[list(places)]
    return dict(zip(places.values(), out.T, strict=True))


class Density(torch.autograd.Function):
    """`Scene.log_density`; what it is the sum of is left in `parts`. It differentiates twice through the operations one by one."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, scene: Scene, parts: list[torch.Tensor]) -> torch.Tensor:
        """See `torch.autograd.Function`."""
        ctx.scene = scene
        if ctx.needs_input_grad[0]:
            by_image, prior, slope = score(scene, z)
            ctx.save_for_backward(z, slope)
        else:
            by_image, prior = scene.log_parts(z)
        parts += [by_image, prior]
        return by_image.sum() + prior

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """See `torch.autograd.Function`."""
        z, slope = ctx.saved_tensors
        if torch.is_grad_enabled():
            by_image, prior = ctx.scene.log_parts(z)
            return torch.autograd.grad(by_image.sum() + prior, z, grad, create_graph=True)[0], None, None
        return grad * slope, None, None
