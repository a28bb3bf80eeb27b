"""Optics: what PSF and pixel of one image do to light, as transfer functions.

Frequencies are in radian per image pixel. The transfer at frequency k is the Fourier transform of PSF and pixel response
together (Bracewell 2000, ch. 10), whatever the PSF's convention.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from bayesjoint.images import PSF

__all__ = ["Optics", "fast_length", "odd_fast_length"]

FOLDS_WITHOUT_PSF = 15
"""Bands kept on each side where only the pixel itself blurs: its transfer falls but slowly."""
LOW_PASS = (0.7 * np.pi, np.pi)
MARGIN = 12


def fast_length(n: int, factors: tuple[int, ...] = (2, 3, 5, 7)) -> int:
    """Smallest length >= n that factors into these: transforms of others (11 is one) take a quarter longer, or far more."""
    while True:
        m = n
        for p in factors:
            while m % p == 0:
                m //= p
        if m == 1:
            return n
        n += 1


def odd_fast_length(n: int) -> int:
    """The same of odd lengths: odd, so that no Nyquist frequency needs a convention."""
    return fast_length(n, (3, 5, 7))


class Optics:
    """Transfer functions of one image.

    Parameters
    ----------
    psf : PSF or None
        None: the pixel alone.
    """

    def __init__(self, psf: PSF | None) -> None:
        self.psf = psf
        self.direct = psf is not None and psf.oversampling == 1 and psf.pixel_response is not None
        self.folds = self._folds()
        self.made: dict[Any, dict[str, Any]] = {}
        """Tables that stamps of one box and core share, by what they were made for."""
        self.blurs: dict[Any, Any] = {}
        """Kernels on grids of the image, in the same way."""

    def afresh(self) -> Optics:
        """The same for stamps of other plans, whose tables would but take memory."""
        new = copy.copy(self)
        new.made = {}
        return new

    @property
    def support(self) -> tuple[int, int]:
        """Image pixels (y, x) over which a point spreads."""
        return (1, 1) if self.psf is None else self.psf.native_shape

    def transfer(self, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """Transfer at the frequencies ky × kx, complex, shape (len(ky), len(kx))."""
        pixel = np.sinc(ky / (2 * np.pi))[:, None] * np.sinc(kx / (2 * np.pi))
        if self.psf is None:
            return pixel.astype(complex)
        a, s = self.psf.array, self.psf.oversampling
        y, x = ((np.arange(n) - n // 2) / s for n in a.shape)
        t = np.exp(-1j * np.outer(ky, y)) @ a @ np.exp(-1j * np.outer(x, kx))
        if self.psf.pixel_response is None:
            return t * pixel
        if self.psf.pixel_response == "subpixel" and s > 1:
            return t * pixel / (np.sinc(ky / (2 * np.pi * s))[:, None] * np.sinc(kx / (2 * np.pi * s)))
        return t

    def kernel(self, step: int) -> np.ndarray:
        """Kernel on the image's grid, compact, for light that is smooth at steps of so many pixels; its middle is the origin."""
        if self.direct and step == 1:
            return self.psf.array
        n = [p + 2 * MARGIN * step for p in self.support]  # odd
        ky, kx = (2 * np.pi * np.fft.fftfreq(m) for m in n)
        lo, hi = (edge / step for edge in LOW_PASS)

        def window(k: np.ndarray) -> np.ndarray:
            t = np.clip((np.abs(k) - lo) / (hi - lo), 0, 1)
            return 1 - t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)

        k = np.fft.ifft2(self.transfer(ky, kx) * window(ky)[:, None] * window(kx)).real
        return np.fft.fftshift(k)

    @staticmethod
    def spectrum(kernel: np.ndarray, shape: tuple[int, int], shift: tuple[int, int]) -> np.ndarray:
        """Half-spectrum (rfft2 layout) of a kernel for an FFT of `shape`, its origin moved to -shift."""
        k = np.zeros(shape)
        py, px = kernel.shape
        k[:py, :px] = kernel
        return np.fft.rfft2(np.roll(k, (-(py // 2) - shift[0], -(px // 2) - shift[1]), (0, 1)))

    def box(self, shape: tuple[int, int], s: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frequencies ky, kx (half) and the transfer of a box of `shape` image pixels, `s` bands wide."""
        ky = 2 * np.pi * np.fft.fftfreq(s * shape[0], 1 / s)
        kx = 2 * np.pi * np.fft.rfftfreq(s * shape[1], 1 / s)
        return ky, kx, self.transfer(ky, kx)

    def _folds(self) -> int:
        """Nyquist bands in which the transfer is not negligible, up to the PSF's own sampling."""
        if self.psf is None:
            return FOLDS_WITHOUT_PSF
        s = self.psf.oversampling
        k = np.linspace(0, s * np.pi, 64 * s)
        t = np.maximum(np.abs(self.transfer(np.zeros(1), k))[0], np.abs(self.transfer(k, np.zeros(1)))[:, 0])
        above = k[t > 1e-6 * t[0]]
        return int(min(s, max(1, np.ceil(above.max() / np.pi - 1e-9))))
