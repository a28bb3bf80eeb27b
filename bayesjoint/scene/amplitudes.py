"""Amplitudes: one image's fluxes and skies, on which its model depends linearly; what they need of the pixels, and what those give back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from bayesjoint.render.blocks import Block, gram, inside, overlap, part, products, total
from bayesjoint.threads import few_threads

if TYPE_CHECKING:
    from bayesjoint.scene.likelihood import ImageLikelihood

__all__ = ["Amplitudes", "amplitudes", "pull"]


@dataclass
class Amplitudes:
    """An image's view of its fluxes and skies: their unit images in units of the noise, and the sums over pixels that they enter.

    Attributes
    ----------
    lead : tensor, shape (k, m)
        Change of each amplitude by each wanted site; float64.
    gram, rhs, chi2 : tensors, shape (k, k), (k,) and ()
        Products of unit images with each other, with the residual, and of the residual with itself.
    values, free : tensors, shape (k,)
        All amplitudes that the residual was made with, and which of them the wanted sites change.
    level : tensor or float
        Log likelihood at zero residuals.
    blocks, residual, kept, size
        What `pull` needs; valid until the image is drawn again.
    """

    lead: torch.Tensor
    gram: torch.Tensor
    rhs: torch.Tensor
    chi2: torch.Tensor
    values: torch.Tensor
    free: torch.Tensor
    level: Any
    blocks: list[Block]
    residual: torch.Tensor
    kept: list[tuple[Any, ...]]
    size: int

    def without_pixels(self) -> Amplitudes:
        """The sums alone, to be kept."""
        return replace(self, blocks=[], residual=self.chi2, kept=[])

    def chi2_at(self, change: torch.Tensor) -> torch.Tensor:
        """Chi² where the wanted sites (m,) have changed by so much."""
        d = self.lead @ change
        return self.chi2 - 2 * d @ self.rhs + d @ self.gram @ d


@torch.no_grad()
def amplitudes(term: ImageLikelihood, full: torch.Tensor, lead: torch.Tensor, slopes: bool = True) -> Amplitudes:
    """What fluxes and skies do to the image, at the values `full`.

    Parameters
    ----------
    full : tensor, shape (n,)
        Sites' values, then constants, then what follows from them.
    lead : tensor, shape (n, m)
        How that changes with the wanted sites.
    slopes : bool
        Whether `pull` will be asked for.
    """
    local, skies = term._split(full)
    weight = term.weighted(full)
    with few_threads(term.data.numel()):
        blocks, kept = term.renderer.units(local, skies, weight, slopes=slopes)
        values = torch.cat([*(v[-1:] for v in local), *skies])
        residual = total(blocks, -values, term.data * weight)
        m = len(values)
        h, g = full.new_zeros(m, m), full.new_zeros(m)
        gram(blocks, blocks, h)
        products(blocks, residual, g)
    mine = lead[term.index[term.amplitude]] * term.factor[term.amplitude].double()[:, None]
    return Amplitudes(
        lead=mine,
        gram=h.double(),
        rhs=g.double(),
        chi2=residual.square().sum(dtype=torch.float64),
        values=values,
        free=(mine != 0).any(1),
        level=term._level(full),
        blocks=blocks,
        residual=residual,
        kept=kept,
        size=len(full),
    )


@torch.no_grad()
def pull(term: ImageLikelihood, full: torch.Tensor, a: Amplitudes, step: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Gradient by the full vector, but for the wanted amplitudes, of the log density with those integrated out.

    Parameters
    ----------
    full : tensor
        Where.
    a : Amplitudes
        Of this image, before anything else was drawn.
    step, covariance : tensors, shape (m,) and (m, m)
        Of the wanted amplitudes: mean less reference, and covariance.
    """
    change, uncertain = (a.lead @ step).to(a.values.dtype), a.lead @ covariance @ a.lead.T
    spread = uncertain.to(a.values.dtype)
    weight = term.weighted(full)
    residual = total(a.blocks, -change, a.residual.clone())
    values = a.values + change
    grad = torch.zeros(len(term.factor), dtype=values.dtype, device=values.device)
    owner = {k: b for b in a.blocks for k in b.rows}
    at = 0
    with few_threads(term.data.numel()):
        for k in range(term.n_sources):
            here = owner[k].where
            back = residual[here] * values[k]
            if a.free[k]:
                for b in a.blocks:
                    common = overlap(b.where, here)
                    if common is not None:
                        back[inside(common, here)] -= (spread[k, b.rows] @ part(b, common)).view([s.stop - s.start for s in common])
            end = at + term.lengths[k]
            grad[at : end - 1] = term.renderer.units_adjoint(k, back * weight[here], a.kept)
            if not a.free[k]:
                grad[end - 1] = residual[here].reshape(-1) @ part(owner[k], here)[owner[k].rows.index(k)]
            at = end
    grad = grad * term.factor
    held = torch.zeros_like(grad, dtype=torch.bool)
    held[term.amplitude[a.free]] = True
    out = grad.new_zeros(a.size).index_add(0, term.index, grad.masked_fill(held, 0.0))
    if term.scale is not None:
        out[term.scale] += (a.chi2_at(step) + (uncertain * a.gram).sum() - term.count) / full[term.scale]
    return out
