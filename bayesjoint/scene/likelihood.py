"""The likelihood of one image: its pixels against the model, as a plain and as a fused function."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.memory import budget_bytes
from bayesjoint.render.blocks import gram, products
from bayesjoint.render.renderer import Renderer
from bayesjoint.render.stamp import StampPlan
from bayesjoint.scalar import dot
from bayesjoint.scene.layout import Layout, as_local
from bayesjoint.scene.noise import Noise
from bayesjoint.sky.components import Component, NoiseScale, Sky, Source
from bayesjoint.threads import few_threads

__all__ = ["ImageLikelihood"]

BUDGET = 2**30
"""Bytes of derivatives of one image held at a time, at most."""
JACOBIAN_SHARE = 0.25
"""Part of a scene's memory that they may take."""
TAIL = 1e-10
"""Part of its sum of squares that a column loses beyond each edge of what is held: 10⁻⁵ sigma of a parameter, and most of the PSF's wings."""


class ImageLikelihood:
    """Likelihood of one image, given the vector of all values and constants.

    Inside, pixels are in units of the image's median sigma, so that single precision serves images of 1e-12.
    """

    def __init__(
        self,
        image: Image,
        frame: Frame,
        components: Sequence[Component],
        layout: Layout,
        plans: dict[str, StampPlan],
        noise: Noise,
        dtype: torch.dtype,
        device: torch.device,
        memory: int | None = None,
    ) -> None:
        self.jacobian_bytes = int(JACOBIAN_SHARE * budget_bytes(memory))
        self.image, self.frame, self.plans, self.noise = image, frame, dict(plans), noise
        seen = [c for c in components if c.sees(image)]
        self.sources = sources = [c for c in seen if isinstance(c, Source)]
        self.skies = skies = [c for c in seen if isinstance(c, Sky)]
        self.renderer = Renderer(image, frame, [(s, plans[s.name]) for s in sources], dtype, device)
        index, self.lengths = as_local([layout.local(c, image) for c in (*sources, *skies)])
        self.n_sources = len(sources)
        scales = [layout.local(c, image)[0] for c in seen if isinstance(c, NoiseScale)]
        self.scale = scales[0] if scales else None
        self.places = [*index.tolist(), *scales]
        """Places of the full vector that the image depends on."""
        sigma = image.sigma
        self.unit = image.typical_sigma
        factor = []
        for c in sources:
            factor += [1.0] * (len(layout.local(c, image)) - 1) + [image.unit_flux / self.unit]
        for c in skies:
            factor += [1.0 / self.unit] * len(layout.local(c, image))

        def tensor(v: Any, kind: torch.dtype = dtype) -> torch.Tensor:
            return _tensor(v, kind, device)

        ends = np.cumsum(self.lengths).astype(int)[: self.n_sources]
        amplitudes = [*(ends - 1), *range(ends[-1] if len(ends) else 0, len(index))]
        self.amplitude = tensor(amplitudes, torch.int64)
        self.index, self.factor = tensor(index, torch.int64), tensor(factor)
        self.data, self.weight = tensor(image.data / self.unit), tensor(np.where(image.valid, self.unit / sigma, 0.0))
        self.weight2 = self.weight.square()
        self.valid = tensor(image.valid, torch.bool)
        used = sigma[image.valid]
        self.count = used.size
        self.const = -float(np.log(used).sum()) + noise.const * used.size

    @property
    def raw(self) -> torch.Tensor:
        """The pixels in image units; made when asked for, as `sigma` is: fits and samplers do without."""
        return _tensor(self.image.data, self.data.dtype, self.data.device)

    @property
    def sigma(self) -> torch.Tensor:
        """Their standard deviations, without a `NoiseScale`."""
        return _tensor(self.image.sigma, self.data.dtype, self.data.device)

    def replanned(self, plans: Mapping[str, StampPlan]) -> ImageLikelihood:
        """The same likelihood, its model drawn by other plans."""
        new, old = copy.copy(self), self.renderer
        new.plans = dict(plans)
        new.renderer = Renderer(self.image, self.frame, [(s, plans[s.name]) for s in self.sources], old.dtype, old.device, old.optics)
        return new

    def _split(self, full: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        parts = torch.split(full.index_select(0, self.index) * self.factor, self.lengths)
        return list(parts[: self.n_sources]), list(parts[self.n_sources :])

    def model(self, full: torch.Tensor) -> torch.Tensor:
        """Model in image units, shape (ny, nx), with its graph."""
        return self.renderer.image(*self._split(full)) * self.unit

    @torch.no_grad()
    def parts(self, full: torch.Tensor, wanted: Collection[str] | None = None) -> dict[str, torch.Tensor]:
        """What each source, and each sky, adds to `model`: by component, shape (ny, nx); of those wanted, where any are named."""
        local, skies = self._split(full)
        out = {c.name: torch.zeros_like(self.data) for c in (*self.sources, *self.skies) if wanted is None or c.name in wanted}
        owners = [c.name for c in self.sources] + [c.name for c, v in zip(self.skies, skies, strict=True) for _ in v]
        amplitudes = torch.cat([*(v[-1:] for v in local), *skies]) * self.unit
        for block in self.renderer.units(local, skies, torch.ones_like(self.data), slopes=False)[0]:
            for k, values in zip(block.rows, block.values, strict=True):
                if owners[k] in out:
                    out[owners[k]][block.where] += amplitudes[k] * values
        return out

    def weighted(self, full: torch.Tensor) -> torch.Tensor:
        """1 / sigma of each pixel in units of the image's median sigma, 0 where masked; sigma times its `NoiseScale`."""
        return self.weight if self.scale is None else self.weight / full[self.scale]

    def _sigma(self, full: torch.Tensor) -> torch.Tensor:
        return self.sigma if self.scale is None else self.sigma * full[self.scale]

    def residual(self, full: torch.Tensor) -> np.ndarray:
        """(data - model) / sigma, shape (ny, nx), 0 where masked; sigma times its `NoiseScale`, where there is one."""
        return ((self.raw - self.model(full)) / self._sigma(full)).masked_fill(~self.valid, 0.0).cpu().numpy().astype(float)

    def distribution(self, full: torch.Tensor) -> dist.TorchDistribution:
        """Distribution of the pixels, masked ones ignored."""
        return self.noise.distribution(self.model(full), self._sigma(full)).mask(self.valid).to_event(2)

    def _level(self, full: torch.Tensor) -> Any:
        """Log likelihood at zero residuals."""
        return self.const if self.scale is None else self.const - self.count * torch.log(full[self.scale])

    def log_prob(self, full: torch.Tensor) -> torch.Tensor:
        """Log likelihood of the image, with all constants."""
        return _Fused.apply(full, self) if len(self.lengths) else self._plain(full)

    @torch.no_grad()
    def pointwise(self, full: torch.Tensor) -> torch.Tensor:
        """Log likelihood of each pixel, with all constants, shape (ny, nx); 0 where masked. They sum to `log_prob`."""
        sigma = self._sigma(full)
        t = ((self.model(full) - self.raw) / sigma).square()
        return torch.where(self.valid, self.noise.const - self.noise.energy(t) - torch.log(sigma), 0.0)

    def draw_noise(self, full: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
        """Noise of one realisation of the image at these values, in image units, shape (ny, nx); masked pixels have theirs too."""
        scale = 1.0 if self.scale is None else float(full[self.scale])
        return self.noise.draw(rng, self.image.shape) * self.image.sigma * scale

    def _plain(self, full: torch.Tensor) -> torch.Tensor:
        t = ((self.renderer.image(*self._split(full)) - self.data) * self.weighted(full)).square()
        return self._level(full) - self.noise.energy(t).sum(dtype=torch.float64)

    def score(self, full: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log likelihood of the image and its gradient by the full vector, without a graph."""
        try:
            return self._scored(full)
        except (ArithmeticError, ValueError):  # of Python's floats, at values that no image has: a sampler's trial
            return full.new_full((), -math.inf), torch.zeros_like(full)

    def _scored(self, full: torch.Tensor, slopes: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Log likelihood with its gradient by the full vector, without a graph."""
        scale = None if self.scale is None else full[self.scale]
        weight = self.weight2 if scale is None else self.weighted(full).square()
        with few_threads(self.data.numel()):
            (energy, pull), sources, skies = self.renderer.score(*self._split(full), self.data, weight, self.noise.score, slopes=slopes)
        if not slopes:
            return self._level(full) - energy, full
        by = torch.cat([*sources, *skies]) * self.factor if self.lengths else full[:0]
        grad = -torch.zeros_like(full).index_add(0, self.index, by)
        if scale is not None:
            grad[self.scale] += (pull - self.count) / scale
        return self._level(full) - energy, grad

    @torch.no_grad()
    def normal_equations(self, full: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Chi², log likelihood, its gradient by the full vector, and its Gauss-Newton precision (expected information)."""
        local = self._split(full)
        n, m = full.shape[0], len(self.factor)
        g, h = full.new_zeros(m), full.new_zeros(m, m)
        groups = _groups(self.renderer.cells(*local), min(BUDGET, self.jacobian_bytes) // (2 * full.element_size()))
        weight = self.weighted(full)
        residual = self.data * weight
        jac = []
        if len(groups) == 1:
            jac = self.renderer.blocks(*local, weight, passing=True, tail=TAIL, residual=residual)
        else:  # little room: without the buffers that densities were made in
            self.renderer.release()
            residual -= self.renderer.image(*local) * weight
        t = residual.square()
        pull = residual * self.noise.pull(t)
        if len(groups) == 1:
            products(jac, pull, g)
            gram(jac, jac, h)
        else:  # more than memory is to hold: a pair of groups at a time
            for i, group in enumerate(groups):
                first = self.renderer.blocks(*local, weight, of=group, tail=TAIL)
                products(first, pull, g)
                gram(first, first, h)
                for other in groups[i + 1 :]:
                    gram(first, self.renderer.blocks(*local, weight, of=other, tail=TAIL), h)
        h *= self.noise.information * self.factor[:, None] * self.factor
        gradient = full.new_zeros(n).index_add_(0, self.index, g * self.factor)
        precision = full.new_zeros(n, n).index_add_(1, self.index, full.new_zeros(n, m).index_add_(0, self.index, h))
        if self.scale is not None:
            gradient[self.scale] += (dot(pull, residual) - self.count) / full[self.scale]
            precision[self.scale, self.scale] += self.count * self.noise.scale_information / full[self.scale] ** 2
        value = self._level(full) - self.noise.energy(t).sum(dtype=torch.float64)
        return t.sum(dtype=torch.float64), value, gradient, precision


def _tensor(v: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(np.array(v), dtype=dtype).to(device)


def _groups(cells: Sequence[int], most: int) -> list[list[int]]:
    """Numbers in a row whose cells together do not exceed the most, if one alone does not."""
    groups: list[list[int]] = [[]]
    held = 0
    for k, n in enumerate(cells):
        if groups[-1] and held + n > most:
            groups.append([])
            held = 0
        groups[-1].append(k)
        held += n
    return groups


class _Fused(torch.autograd.Function):
    """`ImageLikelihood.log_prob` with its gradient found in the forward pass; differentiates twice through the plain function."""

    @staticmethod
    def forward(ctx: Any, full: torch.Tensor, likelihood: ImageLikelihood) -> torch.Tensor:
        ctx.likelihood = likelihood
        if not ctx.needs_input_grad[0]:
            return likelihood._scored(full, slopes=False)[0]
        value, grad = likelihood.score(full)
        ctx.save_for_backward(full, grad)
        return value

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        full, g = ctx.saved_tensors
        if torch.is_grad_enabled():
            return torch.autograd.grad(ctx.likelihood._plain(full), full, grad, create_graph=True)[0], None
        return grad * g, None
