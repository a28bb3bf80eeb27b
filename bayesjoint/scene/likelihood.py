"""The likelihood of one image: its pixels against the model, as a plain and as a fused function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch

from bayesjoint.images import Frame, Image
from bayesjoint.render.blocks import Block, gram, inside, overlap, part, products, total
from bayesjoint.render.renderer import Renderer
from bayesjoint.render.stamp import StampPlan
from bayesjoint.scene.layout import Layout, as_local
from bayesjoint.sky.components import Component, Sky, Source
from bayesjoint.threads import few_threads

__all__ = ["ImageLikelihood"]

BUDGET = 2**30
"""Bytes of derivatives of one image held at a time."""


@dataclass
class Amplitudes:
    """An image's view of its fluxes and skies: their unit images in units of the noise, and the sums over pixels that they enter.

    Attributes
    ----------
    site : tensor of int, shape (m,)
        Place of each wanted amplitude among all that are wanted.
    factor : tensor, shape (m,)
        From a site's value to the amplitude.
    gram, rhs, chi2 : tensors, shape (m, m), (m,) and ()
        Products of unit images with each other, with the residual, and of the residual with itself.
    values, free : tensors, shape (k,)
        All amplitudes that the residual was made with, and which of them are wanted.
    blocks, residual, kept, size
        What `ImageLikelihood.pull` needs; valid until the image is drawn again.
    """

    site: torch.Tensor
    factor: torch.Tensor
    gram: torch.Tensor
    rhs: torch.Tensor
    chi2: torch.Tensor
    values: torch.Tensor
    free: torch.Tensor
    blocks: list[Block]
    residual: torch.Tensor
    kept: list[tuple[Any, ...]]
    size: int


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

        ends = np.cumsum(self.lengths).astype(int)[: self.n_sources]
        amplitudes = [*(ends - 1), *range(ends[-1] if len(ends) else 0, len(index))]
        self.amplitude = tensor(amplitudes, torch.int64)
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
        n, m = full.shape[0], len(self.factor)
        g, h = full.new_zeros(m), full.new_zeros(m, m)
        groups = _groups(self.renderer.cells(*local), BUDGET // (2 * full.element_size()))
        residual = self.data * self.weight
        if len(groups) == 1:
            jac = self.renderer.blocks(*local, self.weight, passing=True)
            total(jac, -self.renderer.amplitudes(*local), residual)
            products(jac, residual, g)
            gram(jac, jac, h)
        else:  # more than memory is to hold: a pair of groups at a time
            residual -= self.renderer.image(*local) * self.weight
            for i, group in enumerate(groups):
                first = self.renderer.blocks(*local, self.weight, of=group)
                products(first, residual, g)
                gram(first, first, h)
                for other in groups[i + 1 :]:
                    gram(first, self.renderer.blocks(*local, self.weight, of=other), h)
        select = torch.zeros(n, m, dtype=full.dtype, device=full.device)
        select[self.index, torch.arange(m, device=full.device)] = self.factor
        return residual.square().sum(dtype=torch.float64), select @ g, select @ h @ select.T

    @torch.no_grad()
    def amplitudes(self, full: torch.Tensor, place: torch.Tensor) -> Amplitudes:
        """What fluxes and skies do to the image, at the values `full`.

        Parameters
        ----------
        full : tensor
            Sites' values, then constants.
        place : tensor of int
            By site and constant: its place among those wanted; -1 if it is held.
        """
        local, skies = self._split(full)
        with few_threads(self.data.numel()):
            blocks, kept = self.renderer.units(local, skies, self.weight)
            values = torch.cat([*(v[-1:] for v in local), *skies])
            residual = total(blocks, -values, self.data * self.weight)
            m = len(values)
            h, g = full.new_zeros(m, m), full.new_zeros(m)
            gram(blocks, blocks, h)
            products(blocks, residual, g)
        index = place[self.index[self.amplitude]]
        free = index >= 0
        return Amplitudes(
            site=index[free],
            factor=self.factor[self.amplitude][free].double(),
            gram=h[free][:, free],
            rhs=g[free],
            chi2=residual.square().sum(dtype=torch.float64),
            values=values,
            free=free,
            blocks=blocks,
            residual=residual,
            kept=kept,
            size=len(full),
        )

    @torch.no_grad()
    def pull(self, a: Amplitudes, step: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
        """Gradient by the full vector, but for the wanted amplitudes, of the log density with those integrated out.

        Parameters
        ----------
        a : Amplitudes
            Of this image, before anything else was drawn.
        step, covariance : tensors, shape (m,) and (m, m)
            Of the wanted amplitudes: mean less reference, and covariance.
        """
        change, spread = torch.zeros_like(a.values), torch.zeros(len(a.values), len(a.values), dtype=a.values.dtype, device=a.values.device)
        change[a.free] = (step[a.site] * a.factor).to(change.dtype)
        rows = torch.nonzero(a.free)[:, 0]
        spread[rows[:, None], rows] = (covariance[a.site[:, None], a.site] * a.factor[:, None] * a.factor).to(spread.dtype)
        residual = total(a.blocks, -change, a.residual.clone())
        values = a.values + change
        grad = torch.zeros(len(self.factor), dtype=values.dtype, device=values.device)
        owner = {k: b for b in a.blocks for k in b.rows}
        at = 0
        with few_threads(self.data.numel()):
            for k in range(self.n_sources):
                here = owner[k].where
                back = residual[here] * values[k]
                if a.free[k]:
                    for b in a.blocks:
                        common = overlap(b.where, here)
                        if common is not None:
                            back[inside(common, here)] -= (spread[k, b.rows] @ part(b, common)).view([s.stop - s.start for s in common])
                end = at + self.lengths[k]
                grad[at : end - 1] = self.renderer.units_adjoint(k, back * self.weight[here], a.kept)
                if not a.free[k]:
                    grad[end - 1] = residual[here].reshape(-1) @ part(owner[k], here)[owner[k].rows.index(k)]
                at = end
        grad = grad * self.factor
        held = torch.zeros_like(grad, dtype=torch.bool)
        held[self.amplitude[a.free]] = True
        return grad.new_zeros(a.size).index_add(0, self.index, grad.masked_fill(held, 0.0))


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
