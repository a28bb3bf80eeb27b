"""Blur: smooth light on coarse grids through an image's PSF onto its pixels, and back; one FFT pair an image.

Light that is smooth enough for every second or fourth pixel is sampled there alone: its spectrum is the low part of the image's, so
what is left of the FFTs is the part where something is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from bayesjoint.render.optics import Optics, fast_length

__all__ = ["Blur"]


class Blur:
    """Convolution of light, sampled at steps of 1, 2 or 4 pixels, with the PSF of one image.

    Parameters
    ----------
    optics : Optics
        Of the image.
    shape : (int, int)
        Of the image.
    steps : iterable of int
        Steps in pixels at which light will come.
    window : (int, int, int, int), optional
        Pixels x0, x1, y0, y1 (half-open) from which alone light will come; None: from the image
        and `margin` around it.
    margin : int, optional
        Pixels beyond the image's edges from which light will come; None: as far as the PSF reaches.

    Attributes
    ----------
    light : ((int, int), (int, int))
        Rows and columns of pixels, half-open, from which light comes; beyond the image they are negative or large.
    where : (slice, slice)
        Rows and columns of the image that it reaches.
    """

    def __init__(
        self,
        optics: Optics,
        shape: tuple[int, int],
        steps: Iterable[int],
        dtype: torch.dtype,
        device: torch.device,
        window: tuple[int, int, int, int] | None = None,
        margin: int | None = None,
    ) -> None:
        steps = sorted(set(steps))
        stamps = {s: optics.kernel(s) for s in steps}
        pad = tuple(max(k.shape[axis] // 2 for k in stamps.values()) for axis in (0, 1))
        windows = (None, None) if window is None else (window[2:], window[:2])
        light, where, fft, shift = zip(
            *(
                _extent(n, p, w, max(steps), p if margin is None else min(p, margin))
                for n, p, w in zip(shape, pad, windows, strict=True)
            ),
            strict=True,
        )
        self.light, self.where = light, where
        self.shape = tuple(w.stop - w.start for w in where)
        coarsest = max(steps)
        self.fft = tuple(coarsest * fast_length(-(-n // coarsest)) for n in fft)
        kind = torch.complex128 if dtype == torch.float64 else torch.complex64
        self.kernels, self.conjugates = {}, {}
        for s, stamp in stamps.items():
            # windows of one size share their kernels, which take more memory than all else of theirs
            key = s, self.fft, shift, stamp.shape, kind, device
            if key not in optics.spectra:
                optics.spectra[key] = self._kernel(optics, s, stamp, shift, kind, device)
            self.kernels[s], self.conjugates[s] = optics.spectra[key]

    def _kernel(
        self, optics: Optics, s: int, stamp: np.ndarray, shift: tuple[int, int], kind: torch.dtype, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What light at a step is multiplied by, and the adjoint's."""
        # its middle is where the first place of the light lies, seen from the first pixel that comes out
        spectrum = optics.spectrum(stamp, self.fft, shift)
        my, mx = (n // s for n in self.fft)
        low = spectrum[self._rows(my)][:, : mx // 2 + 1].copy()
        if s > 1:  # nothing is there but the window's last remnants
            low[my // 2 : (my + 1) // 2 + 1] = 0
            low[:, -1] = 0
        kernel = torch.as_tensor(low * s**2, dtype=kind).to(device)  # each place stands for s² pixels
        return kernel, kernel.conj().resolve_conj() / s**2

    def _rows(self, count: int) -> list[int]:
        h = (count + 1) // 2
        return [*range(h), *range(self.fft[0] - (count - h), self.fft[0])]

    def canvas(self, step: int) -> tuple[int, int]:
        """Shape of the light that comes at a step, zero beyond its grid."""
        return self.fft[0] // step, self.fft[1] // step

    def forward(self, light: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """Light by step, shapes (..., *canvas(step)), to pixels (..., ny, nx)."""
        total = None
        for s, x in sorted(light.items()):
            part = torch.fft.rfft2(x) * self.kernels[s]
            if s > 1:
                rows, h = part.shape[-2], (part.shape[-2] + 1) // 2
                gap = part.new_zeros(*part.shape[:-2], self.fft[0] - rows, part.shape[-1])
                part = torch.cat([part[..., :h, :], gap, part[..., h:, :]], -2)
            if total is None:
                total = part
            else:  # the finest came first
                total = torch.cat([total[..., : part.shape[-1]] + part, total[..., part.shape[-1] :]], -1)
        ny, nx = self.shape
        columns = torch.fft.ifft(total, dim=-2)[..., :ny, :]
        return torch.fft.irfft(columns, n=self.fft[1], dim=-1)[..., :nx]

    def adjoint(self, grad: torch.Tensor, steps: Iterable[int] | None = None) -> dict[int, torch.Tensor]:
        """The adjoint of `forward`: pixels (ny, nx) to light by step."""
        kernels = self.conjugates if steps is None else {s: self.conjugates[s] for s in steps}
        width = max(k.shape[1] for k in kernels.values())
        columns = torch.fft.fft(torch.fft.rfft(grad, n=self.fft[1])[:, :width], n=self.fft[0], dim=0)
        back = {}
        for s, kernel in kernels.items():
            rows, h = kernel.shape[0], (kernel.shape[0] + 1) // 2
            part = columns[:, : kernel.shape[1]]
            low = part * kernel if s == 1 else torch.cat([part[:h], part[self.fft[0] - (rows - h) :]]) * kernel
            back[s] = torch.fft.irfft2(low, s=self.canvas(s))
        return back


def _extent(
    size: int, pad: int, window: tuple[int, int] | None, step: int, margin: int
) -> tuple[tuple[int, int], slice, int, int]:
    """Along one axis: where light comes from, the pixels it reaches, the length of a cyclic convolution that does not mix them, and the shift.

    A window is widened to begin at a place of the grid that there would be without it: its light is the same.
    """
    lo, hi = -margin, size + margin
    if window is not None:
        lo, hi = max(window[0], lo), min(window[1], hi)
    lo, hi = lo - (lo + margin) % step, max(lo, hi)
    first, last = min(max(lo - pad, 0), size), min(max(hi + pad, 0), size)
    return (lo, hi), slice(first, max(first, last)), max(hi + pad - first, last - lo + pad, 2 * pad + 1), first - lo  # the kernel fits, too
