"""Placement: where an image's pixels lie; Frame: the one tangent plane over all images of a scene.

Needed wherever pixels and the sky meet. Pixel coordinates here are numpy's: the middle of the first
pixel is (x, y) = (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from bayesjoint.images.celestial import celestial, celestial_frame, to_icrs
from bayesjoint.log import log
from bayesjoint.units import to_float

__all__ = ["Frame", "Placement"]

NEWTON_STEPS = 50
NEWTON_TOLERANCE_PX = 1e-9


@dataclass(frozen=True)
class Placement:
    """Where an image's pixels lie, by a WCS or by pixel scale and centre, plus a shift (arcsec).

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
    step : int
        Pixels of the WCS's image, along each axis, to one of this.
    """

    shape: tuple[int, int]
    wcs: WCS | None = None
    scale: float | None = None
    center: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    crop: tuple[int, int] = (0, 0)
    step: int = 1

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        *,
        wcs: Any,
        pixel_scale: Any,
        center: Sequence[Any] | None,
        origin: Sequence[Any] | None,
    ) -> Placement:
        """Check what the user gave and make the placement of an image of `shape` (ny, nx) pixels.

        Exactly one of `wcs` (all that `bayesjoint.images.celestial.celestial` takes) and
        `pixel_scale` (arcsec); without a WCS, `center` or `origin` (arcsec East, North), as `Image`
        takes them.

        Raises
        ------
        ValueError
            If none or both came, or they do not place the image.
        """
        if (wcs is None) == (pixel_scale is None):
            came, remedy = (
                ("neither came", "Give pixel_scale= (arcsec), or wcs=")
                if wcs is None
                else ("both came", "Leave one of them out")
            )
            raise ValueError(
                "An image must be placed on the sky by exactly one of wcs= and pixel_scale=; "
                f"{came}. {remedy}."
            )
        if wcs is not None:
            if center is not None or origin is not None:
                raise ValueError(
                    "center= and origin= must come with pixel_scale= alone; got wcs=. Leave them "
                    "out, and move the image by .shifted(dx, dy)."
                )
            wcs, decisions = celestial(wcs, shape)
            for d in decisions:
                (log.warning if d.warning else log.info)("%s", d)
            return cls(shape, wcs=wcs)
        scale = to_float(pixel_scale, "arcsec", "pixel_scale")
        if scale <= 0:
            raise ValueError(
                f"pixel_scale must be positive; got {scale} arcsec. Give arcsec per pixel."
            )
        if center is not None and origin is not None:
            raise ValueError(
                "An image must be placed by center= (its middle) or origin= (its lower left "
                "corner), not both. Leave one of them out."
            )
        place = center if center is not None else origin if origin is not None else (0.0, 0.0)
        try:
            x, y = (to_float(v, "arcsec", "center or origin") for v in place)
        except TypeError as e:
            raise ValueError(
                "center and origin must be a pair (x East, y North) in arcsec; "
                f"got {place!r}. Give two numbers."
            ) from e
        if origin is not None:  # the corner to the lower left is the one furthest East and South
            x, y = x - scale * shape[1] / 2, y + scale * shape[0] / 2
        return cls(shape, scale=scale, center=(x, y))

    def check(self, shape: tuple[int, int]) -> Placement:
        """Return itself for an image of the same `shape`, (ny, nx) pixels."""
        if shape != self.shape:
            raise ValueError(
                f"The data must have the shape of the image's place, {self.shape}; got {shape}. "
                "Give wcs= or pixel_scale= anew."
            )
        return self

    def shifted(self, dx: float, dy: float) -> Placement:
        """Add (dx, dy) arcsec to every pixel's place."""
        return replace(self, shift=(self.shift[0] + dx, self.shift[1] + dy))

    def cropped(self, x0: int, y0: int, shape: tuple[int, int]) -> Placement:
        """Placement of the part of `shape` (ny, nx) pixels that begins at pixel (x0, y0)."""
        if self.wcs is not None:
            crop = self.crop[0] + self.step * x0, self.crop[1] + self.step * y0
            return replace(self, shape=shape, crop=crop)
        cx = self.center[0] - self.scale * (x0 + (shape[1] - self.shape[1]) / 2)
        cy = self.center[1] + self.scale * (y0 + (shape[0] - self.shape[0]) / 2)
        return replace(self, shape=shape, center=(cx, cy))

    def binned(self, n: int) -> Placement:
        """Placement of means of n x n pixels, without those rows and columns that do not fill one."""
        ny, nx = (side // n for side in self.shape)
        if self.wcs is not None:
            return replace(self, shape=(ny, nx), step=n * self.step)
        return replace(self.cropped(0, 0, (n * ny, n * nx)), shape=(ny, nx), scale=n * self.scale)

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
        jacobian = Frame(self.sky_middle).jacobian(self, *self.middle)
        return float(np.sqrt(abs(np.linalg.det(jacobian))))

    def to_icrs(self, px: Any, py: Any) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination (ICRS, degrees) of pixels (`px`, `py`), 0-based.

        Pixels that do not lie on the sky (the corners of an all-sky map) become NaN.
        """
        px, py = (
            np.asarray(p, float) * self.step + (self.step - 1) / 2 + start
            for p, start in zip((px, py), self.crop, strict=True)
        )
        return to_icrs(self.wcs, self._celestial, px, py)

    @cached_property
    def _celestial(self) -> Any:
        """Astropy's frame of the WCS; None for ICRS."""
        return celestial_frame(self.wcs)


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
        """Pixels (`px`, `py`), 0-based, by an image's `placement` to (x East, y North) in arcsec.

        Arrays of one shape. NaN for what is not on the sky, or not on this side of it.
        """
        px, py = np.asarray(px, float), np.asarray(py, float)
        if placement.wcs is None:
            (mx, my), s = placement.middle, placement.scale
            x, y = placement.center[0] - s * (px - mx), placement.center[1] + s * (py - my)
        else:
            if self.reference is None:
                raise ValueError(
                    "A frame must have a reference position for images with a WCS; got none. "
                    "Give reference=SkyCoord(...)."
                )
            x, y = self._wcs.all_world2pix(*placement.to_icrs(px, py), 0)
        return np.asarray(x) + placement.shift[0], np.asarray(y) + placement.shift[1]

    def to_pixel(self, placement: Placement, x: float, y: float) -> tuple[float, float]:
        """(`x`, `y`) in arcsec to pixel coordinates (0-based) by an image's `placement`.

        By Newton steps on `to_sky`, halved where they lead further away. Far off the image, where a
        polynomial distortion cannot be inverted (or folds the plane: a root on the fold's other
        side is none), by the linear map about the image's middle. NaN where the image lies on the
        other side of the sky.
        """
        goal, p = np.array([x, y], float), np.array(placement.middle, float)
        here, slope = self._linear(placement, *p)
        linear = p + np.linalg.solve(slope, goal - here) if np.isfinite(slope).all() else p * np.nan
        parity, off = np.sign(_det(slope)), float(np.hypot(*(goal - here)))
        for _ in range(NEWTON_STEPS):
            if not abs(_det(slope)) > 0:
                break
            step = np.linalg.solve(slope, goal - here)
            if np.abs(step).max() < NEWTON_TOLERANCE_PX:
                if _det(slope) * parity > 0:
                    return float(p[0] + step[0]), float(p[1] + step[1])
                break
            for _ in range(NEWTON_STEPS):
                tried = self._linear(placement, *(p + step))
                now = float(np.hypot(*(goal - tried[0])))
                # near the end rounding alone decides which of two places is closer
                if now < off or np.abs(step).max() < 1e3 * NEWTON_TOLERANCE_PX:
                    break
                step = step / 2
            p, (here, slope), off = p + step, tried, now
        return float(linear[0]), float(linear[1])

    def jacobian(self, placement: Placement, px: float, py: float) -> np.ndarray:
        """d(x, y)/d(px, py) of an image's `placement` at a pixel: arcsec per pixel, (2, 2)."""
        return self._linear(placement, px, py)[1]

    def _linear(self, placement: Placement, px: float, py: float) -> tuple[np.ndarray, np.ndarray]:
        """Place (x, y) of a pixel, and its Jacobian."""
        h = 0.5
        px, py = px + h * np.array([0, 1, -1, 0, 0]), py + h * np.array([0, 0, 0, 1, -1])
        x, y = self.to_sky(placement, px, py)
        slope = np.array([[x[1] - x[2], x[3] - x[4]], [y[1] - y[2], y[3] - y[4]]]) / (2 * h)
        return np.array([x[0], y[0]]), slope

    def offset(self, position: Any) -> tuple[float, float]:
        """`position`, a SkyCoord or a pair in arcsec, as (x, y) of this frame in arcsec."""
        if isinstance(position, SkyCoord):
            if self.reference is None:
                raise ValueError(
                    "A scene must have a WCS or reference=SkyCoord(...) for a position on the sky; "
                    "got neither. Give (x, y) in arcsec instead."
                )
            c = position.icrs
            x, y = self._wcs.all_world2pix(c.ra.deg, c.dec.deg, 0)
            return float(x), float(y)
        pair: Any = ()
        if isinstance(position, Sequence | np.ndarray) and not isinstance(position, str):
            pair = position
        if len(pair) != 2:
            raise ValueError(
                "A position must be a SkyCoord or a pair (x East, y North) in arcsec; "
                f"got {position!r}. Give one of these."
            )
        x, y = (to_float(v, "arcsec", "position") for v in pair)
        return x, y

    def sky(self, x: Any, y: Any) -> SkyCoord:
        """(x, y) in arcsec to sky positions."""
        ra, dec = self._wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
        return SkyCoord(ra * u.deg, dec * u.deg, frame="icrs")


def _det(m: np.ndarray) -> float:
    """Determinant of a 2 x 2 matrix; NaN without the warning of numpy's."""
    return float(m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0])
