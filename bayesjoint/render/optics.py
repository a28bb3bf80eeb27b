"""Optics: what PSF and pixel of one image do to light, as transfer functions.

Frequencies are in radian per image pixel. The transfer at frequency k is the Fourier transform of PSF and pixel response
together (Bracewell 2000, ch. 10), whatever the PSF's convention.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from bayesjoint.images import PSF

__all__ = ["ImageOptics", "Optics", "fast_length", "odd_fast_length"]

FOLDS_WITHOUT_PSF = 15
"""Bands kept on each side where only the pixel itself blurs: its transfer falls but slowly."""
LOW_PASS = (0.7 * np.pi, np.pi)
MARGIN = 12
FILTER_TAPS = 7
"""On each side, of what means over pixels are made by of samples at every pixel."""
RINGS = 1e-6
"""Transfer at the PSF's own Nyquist frequency, relative to its largest, from which points ring."""


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
    """Transfer functions of one PSF.

    Parameters
    ----------
    psf : PSF or None
        None: the pixel alone.

    Attributes
    ----------
    direct : bool
        Whether the PSF's samples are the kernel on the image's pixels as they are.
    finest : float
        Pixels per sample of the PSF, at least 1: light that a coarser grid does not hold does not
        come through.
    """

    def __init__(self, psf: PSF | None) -> None:
        self.psf = psf
        self.direct = psf is not None and psf.on_pixels
        self.finest = 1.0 if psf is None else max(1.0, 1 / min(psf.sampling))
        self.made: dict[Any, dict[str, Any]] = {}
        """Tables that stamps of one box and core share, by what they were made for."""
        self.blurs: dict[Any, Any] = {}
        """Blurs on grids of the image, in the same way."""
        self.spectra: dict[Any, Any] = {}
        """Their kernels."""

    def afresh(self) -> Optics:
        """The same for stamps of other plans, whose tables would but take memory."""
        new = copy.copy(self)
        new.made, new.blurs, new.spectra = {}, dict(self.blurs), dict(self.spectra)
        return new

    def prune(self, blurs: Iterable[Any]) -> None:
        """Let go of blurs and kernels that none of `blurs` is or has: those of earlier plans."""
        used = list(blurs)
        kept = {id(b) for b in used} | {id(k) for b in used for k in b.kernels.values()}
        self.blurs = {k: b for k, b in self.blurs.items() if id(b) in kept}
        self.spectra = {k: pair for k, pair in self.spectra.items() if id(pair[0]) in kept}

    @cached_property
    def folds(self) -> int:
        """Nyquist bands in which the transfer is not negligible, up to the PSF's own sampling."""
        if self.psf is None:
            return FOLDS_WITHOUT_PSF
        s = max(self.psf.sampling)
        bands = int(np.ceil(s - 1e-9))
        k = np.linspace(0, s * np.pi, 64 * bands)
        t = self._along_axes(k)
        above = k[t > 1e-6 * t[0]]
        return int(min(bands, max(1, np.ceil(above.max() / np.pi - 1e-9))))

    @cached_property
    def rings(self) -> bool:
        """Whether a point's image rings beyond the samples: where the transfer ends abruptly."""
        if self.psf is None or self.direct:
            return self.direct
        odd = all(n % 2 for n in self.psf.shape)
        if odd and all(s == int(s) for s in self.psf.sampling):  # sampled finely enough, or optical
            return False
        t = self._along_axes(np.array([0.0, 0.95 * np.pi * min(self.psf.sampling)]))
        return bool(t[1] > RINGS * t[0])

    def _along_axes(self, k: np.ndarray) -> np.ndarray:
        """The larger modulus of the transfer along the two axes."""
        zero = np.zeros(1)
        return np.maximum(np.abs(self.transfer(zero, k))[0], np.abs(self.transfer(k, zero))[:, 0])

    @property
    def support(self) -> tuple[int, int]:
        """Image pixels (y, x) over which a point spreads."""
        return (1, 1) if self.psf is None else self.psf.native_shape

    def transfer(self, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """Transfer at the frequencies ky × kx, complex, shape (len(ky), len(kx))."""
        if self.psf is None:
            return (np.sinc(ky / (2 * np.pi))[:, None] * np.sinc(kx / (2 * np.pi))).astype(complex)
        return self.psf.transfer(ky, kx)

    def kernel(self, step: int) -> np.ndarray:
        """Kernel on the image's grid, compact, for light that is smooth at steps of so many pixels; its middle is the origin."""
        if self.direct and step == 1:
            return self.psf.array
        if self.psf is None:
            return np.outer(_pixel_filter(step), _pixel_filter(step))
        ny, nx = (p + 2 * MARGIN * step for p in self.support)  # odd
        ky, kx, transfer = self.psf.grid_transfer((ny, nx), 1)
        lo, hi = (edge / max(step, self.finest) for edge in LOW_PASS)

        def window(k: np.ndarray) -> np.ndarray:
            t = np.clip((np.abs(k) - lo) / (hi - lo), 0, 1)
            return 1 - t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)

        k = np.fft.ifft2(transfer * window(ky)[:, None] * window(kx)).real
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
        if self.psf is not None:
            return self.psf.grid_transfer(shape, s, half=True)
        ky = 2 * np.pi * np.fft.fftfreq(s * shape[0], 1 / s)
        kx = 2 * np.pi * np.fft.rfftfreq(s * shape[1], 1 / s)
        return ky, kx, self.transfer(ky, kx)


@functools.cache
def _pixel_filter(step: int) -> np.ndarray:
    """Along one axis: what takes samples at steps of so many pixels to means over pixels.

    The compact filter whose transfer is closest to the pixel's where smooth light has power, closest of all where it has most; for
    coarser samples it ends at their Nyquist frequency, beyond which `Blur` holds nothing.
    """
    taps, edge = (FILTER_TAPS if step == 1 else MARGIN * step), LOW_PASS[0] / step
    k = np.linspace(0, edge, 400)
    weight = (0.02 + k * step / np.pi) ** -3.0
    weight[0] *= 1e3  # all light is there
    wanted = np.sinc(k / (2 * np.pi))
    if step > 1:
        beyond = np.linspace(np.pi / step, np.pi, 400 * step)
        k, wanted = np.concatenate([k, beyond]), np.concatenate([wanted, np.zeros_like(beyond)])
        weight = np.concatenate([weight, np.where(beyond < 1.02 * np.pi / step, 30.0, 1.0)])
    waves = np.cos(np.outer(k, np.arange(taps + 1))) * np.where(np.arange(taps + 1), 2.0, 1.0)
    half = np.linalg.lstsq(waves * weight[:, None], wanted * weight, rcond=None)[0]
    return np.concatenate([half[:0:-1], half])


class ImageOptics:
    """The optics of one image: one for all of it, or one for each place of a PSF that varies.

    Parameters
    ----------
    psf : PSF or None
        The image's.
    """

    def __init__(self, psf: PSF | None) -> None:
        self.psf = psf
        self._own: dict[Any, Optics] = {}
        self._before: dict[Any, Optics] = {}

    def at(self, place: tuple[float, float], reach: int | None = None) -> Optics:
        """Optics at a place (x, y) of the image, in pixels.

        They are those of the PSF's part within `reach` pixels of its centre, where that is given.
        """
        key = None if self.psf is None else self.psf.place_key(*place), reach
        if key not in self._own:
            if key in self._before:
                self._own[key] = self._before[key].afresh()
            else:
                psf = None if self.psf is None else self.psf.at(*place)
                self._own[key] = Optics(psf if psf is None or reach is None else psf.trimmed(reach))
        return self._own[key]

    def afresh(self) -> ImageOptics:
        """The same for stamps of other plans: with kernels at places that return, without tables."""
        new = ImageOptics(self.psf)
        new._before = self._own
        return new

    def forget(self) -> None:
        """Let go of the optics of earlier plans."""
        self._before = {}
