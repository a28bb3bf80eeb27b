"""Piff: PSFs of survey exposures, by the package of that name (the extra ``piff``)."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from bayesjoint.images.files import FitsFile, Plane
from bayesjoint.images.psf import PSF
from bayesjoint.images.psf_field import FunctionField
from bayesjoint.images.psf_files.base import PSFFile
from bayesjoint.images.psf_files.galsim_objects import draw
from bayesjoint.images.psf_files.sampling import in_words

__all__ = ["Piff", "PiffStamps"]

PLACE = ("x", "y", "u", "v")
"""Properties of a star that its place alone gives."""
SIZES = (15, 101)
"""Least and greatest number of image pixels that a stamp covers."""
SAMPLES_PER_PIXEL = (2, 4)
"""Least and greatest that are chosen: a PixelGrid's interpolant has ripples beyond the pixels'
Nyquist frequency, so that with 1 a star between pixels is 1 % of its peak off (DES)."""


class Piff(PSFFile):
    """A file of Piff (Jarvis et al. 2021, MNRAS 501, 1282), or its object.

    Notes
    -----
    Reading such a file unpickles the WCS in it, which can run any code: read only files that you
    trust. Places count from 1. Whether the pixel's response is in the model, the model says:
    "no_pixel" (PixelGrid) where it is, "auto" where it is not. It is drawn anew at each place, on
    the image's pixel axes.
    """

    kind = "Piff"
    order = 76

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether it is an object of Piff, or a file with its tables."""
        if isinstance(source, FitsFile):
            tables = {p.hdu.name.lower() for p in source.planes if _columns(p)}
            typed = any(
                p.hdu.name.lower() == "psf" and "type" in _columns(p) for p in source.planes
            )
            return typed and any(n.startswith("psf_") for n in tables)
        return any(c.__module__.split(".")[0] == "piff" for c in type(source).__mro__) and hasattr(
            source, "get_profile"
        )

    def read(self) -> PSF:
        """A varying PSF."""
        psf = _load(self.file) if isinstance(self.source, FitsFile) else self.source
        extra = [n for n in psf.interp_property_names if n not in PLACE]
        if extra:
            raise ValueError(
                "A Piff PSF must depend on the place alone; this one also asks for "
                f"{', '.join(extra)}, which differ from object to object. Give one drawn for "
                "fixed values, as a VaryingPSF of a FunctionField."
            )
        chip = self._chip(psf)
        stamps = PiffStamps(psf, chip, self.options.oversampling)
        response = "native" if stamps.method == "no_pixel" else None
        included = "included" if response else "not included"
        unpickled = ", its WCS unpickled from the file" if isinstance(self.source, FitsFile) else ""
        many = f", chip {chip}" if len(psf.wcs) > 1 else ""
        self.say(
            f"Piff {type(psf).__name__}{many}, drawn with {in_words(stamps.oversampling)}, "
            f"pixel response {included}{unpickled}"
        )
        field = FunctionField(stamps, name=f"Piff {type(psf).__name__}")
        return self.varying(field, stamps.oversampling, response)

    def _chip(self, psf: Any) -> Any:
        chips = list(psf.wcs)
        if self.options.chip is None and len(chips) == 1:
            return chips[0]
        found = [c for c in chips if str(c) == str(self.options.chip).strip()]
        if not found:
            names = ", ".join(map(str, chips[:12])) + (", …" if len(chips) > 12 else "")
            raise ValueError(
                f"chip must be one of the {len(chips)} of a Piff PSF; got {self.options.chip!r}. "
                f"Give one of: {names}."
            )
        return found[0]


class PiffStamps:
    """Samples of a Piff PSF of one chip at any place; called with x and y, 0-based.

    Parameters
    ----------
    psf : piff.PSF
    chip : int
    oversampling : (float, float), optional
        Samples per pixel; by default what its profile needs, 2 to 4.
    """

    def __init__(self, psf: Any, chip: Any, oversampling: tuple[float, float] | None) -> None:
        self.psf, self.chip = psf, chip
        profile, self.method = self._profile(0.0, 0.0)
        if oversampling is None:
            n = float(np.clip(np.ceil(profile.maxk / np.pi), *SAMPLES_PER_PIXEL))
            oversampling = n, n
        self.oversampling = oversampling
        pixels = int(np.clip(profile.getGoodImageSize(1.0), *SIZES))
        self.size = 2 * round(pixels * oversampling[0] / 2) + 1

    def _profile(self, x: float, y: float) -> tuple[Any, str]:
        """Profile in pixels of the image, and how it is to be drawn."""
        import galsim

        profile, method = self.psf.get_profile(x + 1, y + 1, chipnum=self.chip)
        wcs = self.psf.wcs[self.chip].local(galsim.PositionD(x + 1, y + 1))
        return wcs.toImage(profile), method

    def __call__(self, x: float, y: float) -> np.ndarray:
        """Samples, shape (size, size)."""
        profile, _ = self._profile(x, y)
        return draw(profile, 1.0, self.oversampling, self.size)[0]


def _columns(plane: Plane) -> list[str]:
    return [n.lower() for n in getattr(getattr(plane.hdu, "columns", None), "names", None) or []]


def _load(file: FitsFile) -> Any:
    try:
        import piff
    except ImportError as e:
        raise ImportError(
            f"{file.label} must be read by Piff, which is not installed: pip install "
            "'bayesjoint[piff]'."
        ) from e
    path = pathlib.Path(file.address.file).expanduser()
    if not path.is_file():
        raise ValueError(
            "A Piff PSF must be read from a file on disk; got one without a path. Give its path, "
            "or the object that piff.read makes of it."
        )
    try:
        return piff.read(str(path))
    except ModuleNotFoundError as e:
        raise ImportError(
            f"{file.label} must be read with the package {e.name!r}, in which its WCS is pickled; "
            f"it is not installed. Install {e.name}, or give an image of the PSF."
        ) from e
