"""What a WCS object says of the sky: any kind of it as a 2-D celestial WCS, and pixels to ICRS.

Needed when a user gives `wcs=`; `frame.py` and `readers/place.py` build on it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy.coordinates import (
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    Galactic,
    SkyCoord,
    Supergalactic,
)
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame
from astropy.wcs.wcsapi import HighLevelWCSWrapper, SlicedLowLevelWCS

from bayesjoint.images.decisions import Decision

__all__ = [
    "MAX_SIP_ERROR_PX",
    "SYSTEMS",
    "celestial",
    "celestial_frame",
    "fit_error_px",
    "to_icrs",
]

SYSTEMS = {"RA": "DEC", "GLON": "GLAT", "ELON": "ELAT", "SLON": "SLAT"}
"""Names of longitude and of latitude in CTYPE that can be converted to ICRS."""

KNOWN_RADESYS = ("", "ICRS", "FK5", "FK4", "FK4-NO-E")
MAX_SIP_ERROR_PX = 0.05
"""How far the approximation of a WCS by SIP may be off."""
LATTICE = 9  # a side, of the places where an image's pixels are tried
SIP_GOALS_PX = (0.005, 0.02, MAX_SIP_ERROR_PX)
HINT = (
    "Give an astropy.wcs.WCS with RA and Dec on two axes (WCS(header).celestial), or pixel_scale="
)


def celestial(wcs: Any, shape: tuple[int, int]) -> tuple[WCS, list[Decision]]:
    """Any WCS object as a `~astropy.wcs.WCS` of the image's two pixel axes.

    Parameters
    ----------
    wcs : WCS, sliced or wrapped WCS, or gwcs.WCS
        `~astropy.wcs.WCS` with any number of axes, `~astropy.wcs.wcsapi.SlicedLowLevelWCS` (also
        of integers and ranges), `~astropy.wcs.wcsapi.HighLevelWCSWrapper`, or a 2-D gwcs, which is
        approximated by a TAN projection with SIP polynomials.
    shape : (int, int)
        Pixels (ny, nx) of the image.

    Returns
    -------
    wcs : WCS
        A copy, of two celestial axes; pixel (0, 0) is the first of the image.
    decisions : list of Decision
        What the user should know of the conversion; empty where all is well.

    Raises
    ------
    ValueError
        If it has no celestial axes, if these are coupled with others, if pixels of the image do
        not lie on the sky, or if a gwcs is more than 0.05 pixels off its approximation.
    """
    decisions: list[Decision] = []
    low, slices = _unwrapped(wcs)
    given = low.array_shape if isinstance(low, WCS) and slices is None else None
    if isinstance(low, WCS):
        result = _of_fits(low, slices)
    elif hasattr(low, "to_fits_sip"):
        result, text = _of_gwcs(low, slices, shape)
        decisions.append(Decision("place", text))
    else:
        kind = type(low).__name__
        raise ValueError(f"wcs must be a celestial astropy.wcs.WCS; got {kind}. {HINT}.")
    _check_system(result)
    radesys = result.wcs.radesys.strip()
    if radesys not in KNOWN_RADESYS and _longitude(result) == "RA":
        result.wcs.radesys = "ICRS"
        decisions.append(Decision("place", f"RADESYS {radesys!r} of wcs is taken as ICRS", True))
    _check_pixels(result, shape)
    if given is not None and len(given) == 2 and given != tuple(shape):
        text = (
            f"wcs is that of an image of {given[1]} x {given[0]} pixels and this one has "
            f"{shape[1]} x {shape[0]}: if it is a part of that, cut the WCS as well "
            "(wcs[y0:y1, x0:x1])"
        )
        decisions.append(Decision("place", text, True))
    return result, decisions


def celestial_frame(wcs: WCS) -> BaseCoordinateFrame | None:
    """Astropy's frame of a celestial WCS; None for ICRS.

    FK5 of J2000 and ICRS are taken as one, as the headers' authors do: the label tells the
    software's age, not the catalogue's. RADESYS does not matter to galactic coordinates (astropy's
    `wcs_to_celestial_frame` lets it) and EQUINOX does to ecliptic ones (astropy's takes these for
    equatorial ones).

    Raises
    ------
    ValueError
        If the system is none of the sky's.
    """
    name = _longitude(wcs)
    if name == "GLON":
        return Galactic()
    if name == "SLON":
        return Supergalactic()
    if name == "ELON":
        equinox = wcs.wcs.equinox
        return BarycentricMeanEcliptic(
            equinox="J2000" if np.isnan(equinox) else Time(equinox, format="jyear")
        )
    frame = wcs_to_celestial_frame(wcs)
    if isinstance(frame, ICRS) or (isinstance(frame, FK5) and frame.equinox == FK5().equinox):
        return None
    return frame


def to_icrs(
    wcs: WCS, frame: BaseCoordinateFrame | None, px: Any, py: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination (ICRS, degrees) of pixels (`px`, `py`), 0-based.

    `frame` is `celestial_frame(wcs)`. Pixels that do not lie on the sky become NaN.
    """
    world = wcs.all_pix2world(np.asarray(px, float), np.asarray(py, float), 0)
    lon, lat = world[wcs.wcs.lng], world[wcs.wcs.lat]  # a header may have Dec first
    if frame is None:
        return lon, lat
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NaN
        c = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
    return c.ra.deg, c.dec.deg


def _longitude(wcs: WCS) -> str:
    return wcs.wcs.ctype[wcs.wcs.lng][:4].strip("-").upper()


def _unwrapped(wcs: Any) -> tuple[Any, list[Any] | None]:
    """The WCS within, and what was cut from it: slices and integers in numpy's order, or None."""
    if isinstance(wcs, HighLevelWCSWrapper):
        wcs = wcs.low_level_wcs
    if not isinstance(wcs, SlicedLowLevelWCS):
        return wcs, None
    base, slices = wcs._wcs, list(wcs._slices_array)
    return base, slices


def _of_fits(wcs: WCS, slices: list[Any] | None) -> WCS:
    """The celestial axes of a FITS WCS of which integers and ranges may have been cut."""
    ctype = ", ".join(repr(c) for c in wcs.wcs.ctype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that CD hides CDELT
        cdelt = np.abs(wcs.wcs.cdelt)
    if wcs.wcs.has_cd() and any(v > 1 and v == round(v) for v in cdelt):
        raise ValueError(
            "A WCS with a CD matrix must not be sliced with a step, which astropy puts into CDELT, "
            f"where CD hides it; got CDELT {', '.join(f'{v:g}' for v in cdelt)}. Multiply the "
            "columns of CD instead, or give pixel_scale=."
        )
    kept = None
    if slices is not None:
        kept = [wcs.naxis - 1 - k for k, s in enumerate(slices) if isinstance(s, slice)][::-1]
    try:
        if slices is not None:
            wcs = wcs.slice([s if isinstance(s, slice) else slice(s, s + 1) for s in slices])
        else:
            wcs = wcs.deepcopy()
        wcs.wcs.set()
        axes = sorted((wcs.wcs.lng, wcs.wcs.lat)) if wcs.has_celestial else []
        result = wcs.celestial if axes and wcs.naxis > 2 else wcs
    except Exception as e:  # wcslib's errors have many classes
        if "subimage" in str(e):
            raise ValueError(
                "RA and Dec must depend on two pixel axes alone; got a WCS whose matrix couples "
                f"them with another axis. {HINT}."
            ) from e
        raise ValueError(f"The WCS must be one that astropy can use; {_cause(e)}. {HINT}.") from e
    if not axes:
        raise ValueError(
            "wcs must be a celestial astropy.wcs.WCS (RA and Dec on two axes); got one with CTYPE "
            f"{ctype}. {HINT}."
        )
    if kept is not None and kept != axes:
        raise ValueError(
            "The two pixel axes that are left of the WCS must be those of RA and Dec; got axes "
            f"{', '.join(str(k + 1) for k in kept)} of CTYPE {ctype}. {HINT}."
        )
    return result


def _of_gwcs(gwcs: Any, slices: list[Any] | None, shape: tuple[int, int]) -> tuple[WCS, str]:
    """TAN and SIP of a 2-D gwcs over the image's pixels, and what is to be said of their error."""
    if gwcs.pixel_n_dim != 2 or any(not isinstance(s, slice) for s in slices or ()):
        raise ValueError(f"A gwcs must have two pixel axes; got {gwcs.pixel_n_dim}. {HINT}.")
    ny, nx = shape
    y0, x0 = (s.start or 0 for s in slices) if slices is not None else (0, 0)
    box = ((x0 - 0.5, x0 + nx - 0.5), (y0 - 0.5, y0 + ny - 0.5))
    x, y = (a.ravel() for a in np.meshgrid(*(np.linspace(0, n - 1, 23) for n in (nx, ny))))
    truth = _sky(gwcs, x + x0, y + y0)
    error, reason = np.inf, "no fit came"
    for goal in SIP_GOALS_PX:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the fit is worth is measured below
                header = gwcs.to_fits_sip(box, max_pix_error=goal, max_inv_pix_error=None)
                wcs = WCS(fits.Header(header))
        except Exception as e:  # of gwcs, astropy.modeling and numpy
            reason = _cause(e)
            continue
        wcs = wcs.slice((slice(y0, y0 + ny), slice(x0, x0 + nx)))
        error = fit_error_px(wcs, x, y, truth)
        reason = f"got one {error:.2g} pixels off"
        if error <= MAX_SIP_ERROR_PX:
            break
    if not error <= MAX_SIP_ERROR_PX:
        raise ValueError(
            f"A gwcs must be within {MAX_SIP_ERROR_PX} pixels of a TAN projection with SIP "
            f"polynomials over the image; {reason}. {HINT}."
        )
    return wcs, f"the gwcs is approximated by TAN and SIP, at most {error:.2g} pixels off"


def fit_error_px(wcs: WCS, x: np.ndarray, y: np.ndarray, truth: SkyCoord) -> float:
    """Largest distance of a WCS's pixels from their true places, pixels."""
    got = SkyCoord(*to_icrs(wcs, celestial_frame(wcs), x, y), unit="deg")
    scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
    return float(np.max(got.separation(truth).arcsec) / scale)


def _sky(gwcs: Any, x: np.ndarray, y: np.ndarray) -> SkyCoord:
    """Where a gwcs puts pixels, ICRS."""
    sky = gwcs.pixel_to_world(x, y)
    if not isinstance(sky, SkyCoord):
        kind = type(sky).__name__
        raise ValueError(f"A gwcs must give positions on the sky; got {kind}. {HINT}.")
    return sky.icrs


def _check_system(wcs: WCS) -> None:
    """Refuse a WCS whose longitude and latitude are not those of the sky."""
    name = _longitude(wcs)
    if name not in SYSTEMS:
        raise ValueError(
            "The WCS must be equatorial, galactic, supergalactic or ecliptic; got CTYPE "
            f"{', '.join(repr(c) for c in wcs.wcs.ctype)}. {HINT}."
        )


def _check_pixels(wcs: WCS, shape: tuple[int, int]) -> None:
    """Refuse a WCS that does not put all of the image's pixels on the sky, or on one line of it."""
    ny, nx = shape
    x, y = (nx - 1) / 2, (ny - 1) / 2
    lattice = np.meshgrid(np.linspace(0, nx - 1, LATTICE), np.linspace(0, ny - 1, LATTICE))
    px, py = (
        np.concatenate([c + 0.5 * np.array(step), a.ravel()])
        for c, step, a in ((x, (0, 1, 0), lattice[0]), (y, (0, 0, 1), lattice[1]))
    )
    try:
        lon, lat = to_icrs(wcs, celestial_frame(wcs), px, py)
    except Exception as e:
        raise ValueError(f"The WCS must be one that astropy can use; {_cause(e)}. {HINT}.") from e
    lost = ~(np.isfinite(lon) & np.isfinite(lat))
    if lost[:3].any():
        raise ValueError(
            f"The WCS must put the image's middle, pixel ({x:g}, {y:g}), on the sky; got no "
            "position. Correct its CRPIX and scale, or give pixel_scale=."
        )
    if lost.any():
        raise ValueError(
            f"The WCS must put all pixels on the sky; got about {100 * lost[3:].mean():.0f} % that "
            "are not. Cut the image and its WCS to the others, and give wcs=, or give pixel_scale=."
        )
    p = SkyCoord(lon[:3], lat[:3], unit="deg").cartesian.xyz.value
    a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    if not np.linalg.norm(np.cross(a, b)) > 1e-6 * np.linalg.norm(a) * np.linalg.norm(b):
        raise ValueError(
            "The WCS must spread the image over an area of the sky; got one whose pixel axes "
            f"run along one line. {HINT}."
        )


def _cause(e: Exception) -> str:
    """The last line of an error, which in wcslib's says most."""
    lines = [line.strip().rstrip(".") for line in str(e).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("ERROR")] or lines
    return f"it says: {lines[-1][:200]}" if lines else f"it raises {type(e).__name__}"
