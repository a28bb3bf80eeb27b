"""The likelihood of one image: its pixels against the model, as a plain and as a fused function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.renderer import Renderer
from bayesjoint.render.stamp import StampPlan
from bayesjoint.scene.layout import Layout, as_local
from bayesjoint.sky.components import Component, Sky, Source
from bayesjoint.threads import few_threads

__all__ = ["ImageLikelihood"]


class ImageLikelihood:
    """Gaussian likelihood of one image, given the vector of all values and constants.

    Inside, pixels are in units of the image's median sigma, so that single precision serves images of 1e-12.
    """

    def __init__(
        self,
        image: Image,
        frame: Frame,
        components: Sequence[Component],
        layout: Layout,
        plans: dict[str, StampPlan],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.image, self.plans = image, dict(plans)
        seen = [c for c in components if c.sees(image)]
        sources = [c for c in seen if isinstance(c, Source)]
        skies = [c for c in seen if isinstance(c, Sky)]
        self.renderer = Renderer(image, frame, [(s, plans[s.name]) for s in sources], dtype, device)
        index, self.lengths = as_local([layout.local(c, image) for c in (*sources, *skies)])
        self.n_sources = len(sources)
        sigma = image.sigma
        self.unit = float(np.median(sigma[image.valid]))
        factor = []
        for c in sources:
            factor += [1.0] * (len(layout.local(c, image)) - 1) + [image.unit_flux / self.unit]
        for c in skies:
            factor += [1.0 / self.unit] * len(layout.local(c, image))

        def tensor(v: Any, kind: torch.dtype = dtype) -> torch.Tensor:
            return torch.as_tensor(np.array(v), dtype=kind).to(device)

        self.index, self.factor = tensor(index, torch.int64), tensor(factor)
        self.data, self.weight = tensor(image.data / self.unit), tensor(np.where(image.valid, self.unit / sigma, 0.0))
        self.weight2 = self.weight.square()
        self.sigma, self.raw, self.valid = tensor(sigma), tensor(image.data), tensor(image.valid, torch.bool)
        used = sigma[image.valid]
        self.const = -float(np.log(used).sum()) - 0.5 * math.log(2 * math.pi) * used.size

    def _split(self, full: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        parts = torch.split(full.index_select(0, self.index) * self.factor, self.lengths)
        return list(parts[: self.n_sources]), list(parts[self.n_sources :])

    def model(self, full: torch.Tensor) -> torch.Tensor:
        """Model in image units, shape (ny, nx), with its graph."""
        return self.renderer.image(*self._split(full)) * self.unit

    def distribution(self, full: torch.Tensor) -> dist.TorchDistribution:
        """Distribution of the pixels, masked ones ignored."""
        return dist.Normal(self.model(full), self.sigma).mask(self.valid).to_event(2)

    def log_prob(self, full: torch.Tensor) -> torch.Tensor:
        """Log likelihood of the image, with all constants."""
        return _Fused.apply(full, self) if len(self.lengths) else self._plain(full)

    @torch.no_grad()
    def pointwise(self, full: torch.Tensor) -> torch.Tensor:
        """Log likelihood of each pixel, with all constants, shape (ny, nx); 0 where masked. They sum to `log_prob`."""
        model = self.renderer.image(*self._split(full))
        value = -0.5 * ((model - self.data) * self.weight).square() - torch.log(self.sigma) - 0.5 * math.log(2 * math.pi)
        return torch.where(self.valid, value, 0.0)

    def draw_noise(self, full: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
        """Noise of one realisation of the image at these values, in image units, shape (ny, nx); masked pixels have theirs too."""
        return rng.standard_normal(self.image.shape) * self.image.sigma

    def _plain(self, full: torch.Tensor) -> torch.Tensor:
        model = self.renderer.image(*self._split(full))
        return self.const - 0.5 * ((model - self.data) * self.weight).square().sum(dtype=torch.float64)

    def _scored(self, full: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with few_threads(self.data.numel()):
            half, sources, skies = self.renderer.score(*self._split(full), self.data, self.weight2)
        by = torch.cat([*sources, *skies]) * self.factor
        return self.const - half, -torch.zeros_like(full).index_add(0, self.index, by)

    @torch.no_grad()
    def normal_equations(self, full: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Chi², gradient of the log likelihood, and Gauss-Newton precision by the full vector."""
        local = self._split(full)
        jac = self.renderer.jacobian(*local, self.weight, passing=True)
        residual = (self.data * self.weight).view(-1) - self.renderer.combine(jac, *local)
        h, g = jac @ jac.T, jac @ residual
        n = full.shape[0]
        select = torch.zeros(n, len(self.factor), dtype=full.dtype, device=full.device)
        select[self.index, torch.arange(len(self.factor), device=full.device)] = self.factor
        return residual.square().sum(dtype=torch.float64), select @ g, select @ h @ select.T

    @torch.no_grad()
    def linear_system(self, full: torch.Tensor, linear: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        """Weighted images of unit amplitude of the sites `linear`, the weighted residual with them at zero, and which they are.

        Parameters
        ----------
        full : tensor
            Values with the linear sites at zero.
        linear : sequence of int
            Sites that multiply an image: fluxes, sky levels and slopes.
        """
        index = self.index.tolist()
        local, skies = self._split(full)
        units = self.renderer.units(local, skies) * self.weight.view(-1)
        ends = np.cumsum(self.lengths).astype(int)
        amplitudes = [*(ends[: self.n_sources] - 1), *range(ends[self.n_sources - 1] if self.n_sources else 0, len(index))]
        free = [k for k, m in enumerate(amplitudes) if index[m] in linear]
        held = torch.cat([*(v[-1:] for v in local), *skies])
        held[free] = 0.0
        factor = self.factor[[amplitudes[k] for k in free]]
        base = (self.data * self.weight).view(-1) - held @ units
        return units[free] * factor[:, None], base, np.array([linear.index(index[amplitudes[k]]) for k in free], dtype=int)


class _Fused(torch.autograd.Function):
    """`ImageLikelihood.log_prob` with its gradient found in the forward pass; differentiates twice through the plain function."""

    @staticmethod
    def forward(ctx: Any, full: torch.Tensor, likelihood: ImageLikelihood) -> torch.Tensor:
        ctx.likelihood = likelihood
        if not ctx.needs_input_grad[0]:
            return likelihood._plain(full)
        value, grad = likelihood._scored(full)
        ctx.save_for_backward(full, grad)
        return value

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        full, g = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(ctx.likelihood._plain(full), full, grad, create_graph=True)[0], None
        return grad * g, None
