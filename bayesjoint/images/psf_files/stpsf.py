"""STPSF (WebbPSF): one simulated PSF in up to four extensions, of which the right one is read."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits

from bayesjoint.images.files import Plane
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_files.base import PSFFile, planes_meant
from bayesjoint.images.psf_files.sampling import (
    parse_factors,
    pixel_response,
    samples_per_pixel,
)

__all__ = ["STPSF"]

EXTENSIONS = ("OVERDIST", "OVERSAMP", "DET_DIST", "DET_SAMP")
"""Best first: distorted and with the detector's effects before ideal, fine before coarse."""
OUTSIDE = 0.01
"""Part of the light outside the array from which on it may make a flux wrong."""


class STPSF(PSFFile):
    """A PSF that STPSF (WebbPSF) or another program built on POPPY calculated.

    Notes
    -----
    OVERDIST has distortion, charge diffusion and interpixel capacitance; OVERSAMP is ideal; DET_*
    are sums of their samples over detector pixels. No pixel's response is in the fine ones: POPPY's
    matrix Fourier transform gives the intensity *at* the samples' centres (an Airy pattern of 4
    samples a pixel, poppy 1.1.2, equals the analytic one at the centres to 5e-7 of the peak, and
    differs from its mean over the samples by 2e-3), and psf_grid convolves the very same array
    with a box of a whole pixel to make it effective. The response is therefore None, not
    "subpixel"; that of DET_*, the sum over the pixel, is "native".
    """

    kind = "STPSF"
    order = 66

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether planes have the names or cards that STPSF writes."""
        return any(_is_stpsf(p) for p in planes_meant(source))

    def read(self) -> PSF:
        """One PSF for all places."""
        plane = self._plane()
        h = plane.header
        rebinned = plane.name.startswith("DET_") or "CALCSAMP" in h
        array = np.asarray(plane.image(), dtype=float)
        which = f", extension {plane.name}" if plane.name in EXTENSIONS else ""
        response = None if not rebinned else "native"
        said = "pixel response included" if rebinned else "no pixel response (samples are points)"
        what = " ".join(str(h[k]).strip() for k in ("INSTRUME", "DETECTOR", "FILTER") if k in h)
        self.say(f"STPSF{' ' if what else ''}{what}{which}, {said}")
        sampling = samples_per_pixel(h, self.options, self.say, _stated(h, rebinned))
        sampling = sampling or (1.0, 1.0)
        total = float(array.sum())
        if 0 < total < 1 and "PSFNORM" not in h:
            part = f"{100 * (1 - total):.1f} % of the light lies outside the array"
            kept = "is put back by dividing by the sum; normalize=False leaves it outside"
            self.say(
                f"sum {total:.4f}: {part} and {kept if self.options.normalize else 'stays there'}",
                warning=self.options.normalize and 1 - total > OUTSIDE,
            )
        return self.constant(
            array, sampling, pixel_response(h, response), normalize=bool(h.get("PSFNORM", True))
        )

    def _plane(self) -> Plane:
        planes = [p for p in planes_meant(self.file) if _is_stpsf(p)]
        by_name = {p.name: p for p in reversed(planes)}
        chosen = next((by_name[n] for n in EXTENSIONS if n in by_name), planes[0])
        if chosen.name == "OVERSAMP" and len(planes) > 1:
            self.say("no OVERDIST: distortion and the detector's effects are not in it")
        wanted = {"OVERSAMP": "OVERDIST", "DET_SAMP": "DET_DIST"}.get(chosen.name)
        if wanted is not None and any(p.name == wanted for p in self.file.planes):
            self.say(
                f"extension {chosen.name}, which is named, is without distortion and the "
                f"detector's effects; {wanted} has them",
                warning=True,
            )
        return chosen


def _is_stpsf(plane: Plane) -> bool:
    return plane.is_image and (
        plane.name in EXTENSIONS or ("DET_SAMP" in plane.header and "PIXELSCL" in plane.header)
    )


def _stated(h: fits.Header, rebinned: bool) -> tuple[tuple[float, float], str] | None:
    """Samples per pixel of this very array.

    OVERSAMP is the oversampling of the transforms and DET_SAMP that of the fine array, also in the
    headers of rebinned ones, whose own OVERSAMP is 1.
    """
    card = "OVERSAMP" if rebinned or "DET_SAMP" not in h or h.get("OVERSAMP") == 1 else "DET_SAMP"
    return None if card not in h else (parse_factors(h[card], card), f"{card} = {h[card]}")
