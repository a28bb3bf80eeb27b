"""Placement of an image's pixels on the sky, and Frame: the one tangent plane that a scene lays over all its images.

Pixel coordinates here are numpy's: the middle of the first pixel is (x, y) = (0, 0). This is the one place that converts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import FK5, ICRS, SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from bayesjoint.units import to_float

__all__ = ["Frame", "Placement"]


@dataclass(frozen=True)
class Placement:
    """Where an image's pixels lie: by a WCS, or by a pixel scale and centre; plus a shift, in arcsec East and North.

    Parameters
    ----------
    shape : (int, int)
        Pixels (ny, nx) of the image.
    wcs : `~astropy.wcs.WCS`, optional
        Of the whole image of which this may be a part.
    scale : float, optional
        Arcsec per pixel, without a WCS.
    center, shift : (float, float)
        Where the middle lies without a WCS, and what is added to all places; arcsec East, North.
    crop : (int, int)
        Pixel (x, y) of the WCS's image at which this part begins.
    """

    shape: tuple[int, int]
    wcs: WCS | None = None
    scale: float | None = None
    center: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    crop: tuple[int, int] = (0, 0)

    @classmethod
    def of(
        cls, shape: tuple[int, int], *, wcs: WCS | None, pixel_scale: Any, center: Sequence[Any] | None, origin: Sequence[Any] | None
    ) -> Placement:
        """Check what the user gave and make the placement of an image of `shape` (ny, nx) pixels.

        Exactly one of `wcs` and `pixel_scale` (arcsec); without a WCS, `center` or `origin` (arcsec East, North), as `Image` takes them.
        """
        if (wcs is None) == (pixel_scale is None):
            raise ValueError(
                "An image's place on the sky is to be given by exactly one of wcs= and pixel_scale="
                + (", and both came." if wcs is not None else ", and neither came: pixel_scale (arcsec) is enough.")
            )
        if wcs is not None:
            if center is not None or origin is not None:
                raise ValueError("center= and origin= place an image without a WCS; with wcs= use .shifted(dx, dy) instead.")
            if not isinstance(wcs, WCS) or not wcs.has_celestial or wcs.celestial.naxis != 2:
                raise ValueError("wcs is to be a celestial astropy.wcs.WCS (RA and Dec on two axes), and it is not: give pixel_scale= instead.")
            return cls(shape, wcs=wcs.celestial)
        scale = to_float(pixel_scale, "arcsec", "pixel_scale")
        if scale <= 0:
            raise ValueError(f"pixel_scale is to be positive, and {scale} arcsec came.")
        if center is not None and origin is not None:
            raise ValueError("Give center= (the middle of the image) or origin= (its lower left corner), not both.")
        place = center if center is not None else origin if origin is not None else (0.0, 0.0)
        try:
            x, y = (to_float(v, "arcsec", "center or origin") for v in place)
        except TypeError as e:
            raise ValueError(f"center and origin are to be a pair (x East, y North) in arcsec, and {place!r} came.") from e
        if origin is not None:  # the corner to the lower left is the one furthest East and South
            x, y = x - scale * shape[1] / 2, y + scale * shape[0] / 2
        return cls(shape, scale=scale, center=(x, y))

    def check(self, shape: tuple[int, int]) -> Placement:
        """Return itself for an image of the same `shape`, (ny, nx) pixels."""
        if shape != self.shape:
            raise ValueError(f"An image's place belongs to its shape {self.shape}, and {shape} came: give wcs= or pixel_scale= anew.")
        return self

    def shifted(self, dx: float, dy: float) -> Placement:
        """Add (dx, dy) arcsec to every pixel's place."""
        return replace(self, shift=(self.shift[0] + dx, self.shift[1] + dy))

    def cropped(self, x0: int, y0: int, shape: tuple[int, int]) -> Placement:
        """Placement of the part of `shape` (ny, nx) pixels that begins at pixel (x0, y0)."""
        if self.wcs is not None:
            return replace(self, shape=shape, crop=(self.crop[0] + x0, self.crop[1] + y0))
        cx = self.center[0] - self.scale * (x0 + (shape[1] - self.shape[1]) / 2)
        cy = self.center[1] + self.scale * (y0 + (shape[0] - self.shape[0]) / 2)
        return replace(self, shape=shape, center=(cx, cy))

    @property
    def middle(self) -> tuple[float, float]:
        """Pixel coordinates (x, y) of the image's middle."""
        return (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2

    @cached_property
    def sky_middle(self) -> SkyCoord | None:
        """Sky position (ICRS, degrees) of the middle, or None without a WCS."""
        if self.wcs is None:
            return None
        return SkyCoord(*(float(v) for v in self.to_icrs(*self.middle)), unit="deg", frame="icrs")

    @cached_property
    def pixel_scale(self) -> float:
        """Side in arcsec of a square as large as the middle pixel."""
        if self.wcs is None:
            return self.scale
        return float(np.sqrt(abs(np.linalg.det(Frame(self.sky_middle).jacobian(self, *self.middle)))))

    def to_icrs(self, px: Any, py: Any) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination (ICRS, degrees) of pixels (`px`, `py`), 0-based."""
        world = self.wcs.all_pix2world(np.asarray(px, float) + self.crop[0], np.asarray(py, float) + self.crop[1], 0)
        lon, lat = world[self.wcs.wcs.lng], world[self.wcs.wcs.lat]  # a header may have Dec first
        if self._celestial is None:
            return lon, lat
        c = SkyCoord(lon, lat, unit="deg", frame=self._celestial).icrs
        return c.ra.deg, c.dec.deg

    @cached_property
    def _celestial(self) -> Any:
        """Astropy's frame of the WCS; None for ICRS.

        FK5 and ICRS are taken as one, as the headers' authors do: the label tells the software's age, not the catalogue's.
        """
        frame = wcs_to_celestial_frame(self.wcs)
        return None if isinstance(frame, FK5 | ICRS) and getattr(frame, "equinox", None) in (None, FK5().equinox) else frame


class Frame:
    """A tangent plane: x arcsec to the East, y arcsec to the North of a reference position.

    Parameters
    ----------
    reference : SkyCoord or None
        None for scenes none of whose images has a WCS.
    """

    def __init__(self, reference: SkyCoord | None) -> None:
        self.reference = reference
        if reference is not None:
            icrs = reference.icrs
            w = WCS(naxis=2)
            w.wcs.ctype = "RA---TAN", "DEC--TAN"
            w.wcs.crval = float(icrs.ra.deg), float(icrs.dec.deg)
            w.wcs.crpix = 1.0, 1.0
            w.wcs.cdelt = 1 / 3600, 1 / 3600  # x grows to the East
            self._wcs = w

    def to_sky(self, placement: Placement, px: Any, py: Any) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates (`px`, `py`), 0-based, by an image's `placement` to (x East, y North) in arcsec; arrays of one shape."""
        px, py = np.asarray(px, float), np.asarray(py, float)
        if placement.wcs is None:
            (mx, my), s = placement.middle, placement.scale
            x, y = placement.center[0] - s * (px - mx), placement.center[1] + s * (py - my)
        else:
            if self.reference is None:
                raise ValueError("An image with a WCS came into a frame without a reference position: give reference=SkyCoord(...).")
            x, y = self._wcs.all_world2pix(*placement.to_icrs(px, py), 0)
        return np.asarray(x) + placement.shift[0], np.asarray(y) + placement.shift[1]

    def to_pixel(self, placement: Placement, x: float, y: float) -> tuple[float, float]:
        """(`x`, `y`) in arcsec to pixel coordinates (0-based) by an image's `placement`, by Newton steps on `to_sky`."""
        p = np.array(placement.middle, float)
        for _ in range(20):
            here, slope = self._linear(placement, *p)
            step = np.linalg.solve(slope, np.array([x, y]) - here)
            p = p + step
            if not np.isfinite(p).all() or np.abs(step).max() < 1e-9:
                break
        return float(p[0]), float(p[1])

    def jacobian(self, placement: Placement, px: float, py: float) -> np.ndarray:
        """d(x, y)/d(px, py) of an image's `placement` in arcsec per pixel at a place, shape (2, 2)."""
        return self._linear(placement, px, py)[1]

    def _linear(self, placement: Placement, px: float, py: float) -> tuple[np.ndarray, np.ndarray]:
        """Place (x, y) of a pixel, and its Jacobian."""
        h = 0.5
        x, y = self.to_sky(placement, px + h * np.array([0, 1, -1, 0, 0]), py + h * np.array([0, 0, 0, 1, -1]))
        return np.array([x[0], y[0]]), np.array([[x[1] - x[2], x[3] - x[4]], [y[1] - y[2], y[3] - y[4]]]) / (2 * h)

    def offset(self, position: Any) -> tuple[float, float]:
        """`position`, a SkyCoord or a pair in arcsec, as (x, y) of this frame in arcsec."""
        if isinstance(position, SkyCoord):
            if self.reference is None:
                raise ValueError("A position on the sky needs a scene with a WCS or a reference=SkyCoord(...); give (x, y) in arcsec instead.")
            c = position.icrs
            x, y = self._wcs.all_world2pix(c.ra.deg, c.dec.deg, 0)
            return float(x), float(y)
        pair = position if isinstance(position, Sequence | np.ndarray) and not isinstance(position, str) else ()
        if len(pair) != 2:
            raise ValueError(f"A position is to be a SkyCoord or a pair (x East, y North) in arcsec, and {position!r} came.")
        x, y = (to_float(v, "arcsec", "position") for v in pair)
        return x, y

    def sky(self, x: Any, y: Any) -> SkyCoord:
        """(x, y) in arcsec to sky positions."""
        ra, dec = self._wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
        return SkyCoord(ra * u.deg, dec * u.deg, frame="icrs")
