"""Where the pixels of a FITS image lie: from which header its WCS comes, and whether that can be.

Needed by the readers of files; a WCS that a user gives as wcs= is taken by
`bayesjoint.images.celestial` instead. A WCS comes whole from one header; what is implausible is
said, what cannot be is refused, and `wcs=astropy.wcs.WCS(header)` is the way round every refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import to_number
from bayesjoint.images.frame import Frame, Placement
from bayesjoint.images.readers.header_wcs import (
    MAX_SCALE_ARCSEC,
    MIN_SCALE_ARCSEC,
    REMEDY,
    WITNESS_TOLERANCE,
    HeaderWCS,
    Record,
    axes_of,
    check_scale,
    has_wcs,
    other_scales,
)

__all__ = ["Place", "inherits", "place_of"]

MAX_ELONGATION = 1.3
"""Of a pixel: WFC3/IR has 1.12, ACS/SBC 1.2."""
MAX_SCALE_CHANGE = 0.2
MAX_TAN_DISTANCE_DEG, NO_TAN_DISTANCE_DEG = 20.0, 60.0


@dataclass(frozen=True)
class Place:
    """Where an image's pixels lie, as far as its file says.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS` or None
        Of two celestial axes.
    pixel_scale : float or None
        Arcsec per pixel, of a file without WCS that says this.
    decisions : list of Decision
        What was decided and why, about "place".
    parent : (int, int)
        The 0-based pixel (x, y) of the parent image at which this one begins.
    """

    wcs: WCS | None = None
    pixel_scale: float | None = None
    decisions: list[Decision] = field(default_factory=list)
    parent: tuple[int, int] = (0, 0)


def place_of(
    own: fits.Header,
    primary: fits.Header | None,
    hdus: fits.HDUList | None,
    shape: tuple[int, int],
    what: str,
) -> Place:
    """Read where an image's pixels lie.

    Parameters
    ----------
    own : Header
        Of the HDU that holds the pixels; free of cards that cannot be parsed.
    primary : Header or None
        Of the primary HDU, where that is another one.
    hdus : HDUList or None
        The file, for look-up tables of distortion.
    shape : (int, int)
        Pixels (ny, nx) of the image.
    what : str
        The image's name in errors.

    Raises
    ------
    ValueError
        In one sentence and a remedy, where the header has a WCS that has no right reading.
    """
    record = Record()
    source = own
    try:
        parent = _parent(own, record)
        source = _source(own, primary, shape, record)
        if source is None:
            return Place(None, _pixscale(own, primary, record), record.decisions, parent)
        wcs = HeaderWCS(source, (own, primary), hdus, shape, record).wcs()
        _check_geometry(wcs, own, primary, shape, record)
    except ValueError as e:
        where = what if source is own or source is None else f"{what}, primary header"
        raise ValueError(f"{where}: {e}") from e
    return Place(wcs, None, record.decisions, parent)


# -- which header ----------------------------------------------------------------------------------
def _source(
    own: fits.Header, primary: fits.Header | None, shape: tuple[int, int], record: Record
) -> fits.Header | None:
    """The one header whose WCS is taken; None where there is none."""
    if has_wcs(own):
        return own
    if primary is not None and has_wcs(primary):
        there = tuple(primary.get(f"NAXIS{k}", 0) for k in (2, 1))
        if inherits(own) is False:
            record.warn(
                "the WCS of the primary header is not taken, as the extension says INHERIT = F; "
                "give wcs= if it is right"
            )
        elif primary.get("NAXIS", 0) >= 2 and there != tuple(shape):
            record.warn(
                f"the WCS of the primary header is not taken, as it is that of an image of {there} "
                f"pixels and this one has {tuple(shape)}; give wcs= if it is right"
            )
        else:
            record.note("the WCS is that of the primary header, as the extension has none")
            return primary
    for header in (own, primary):
        if header is None:
            continue
        scales = [k for k in ("CD1_1", "CDELT1") if 0 < abs(to_number(header.get(k)) or 0) < 0.1]
        if "CRVAL1" in header and scales and not str(header.get("CTYPE1", "")).strip():
            record.warn(
                f"CRVAL1 and {scales[0]} are no WCS without CTYPE1 and CTYPE2; "
                "give wcs= or pixel_scale="
            )
        for key in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            if axes_of(header, key):
                record.warn(
                    f"only the alternate WCS {key!r} is celestial, and it is not taken; "
                    f"give wcs=astropy.wcs.WCS(header, key={key!r}) if it is right"
                )
                break
    return None


def inherits(own: fits.Header) -> bool | None:
    """INHERIT of a header; None where it does not say."""
    value = own.get("INHERIT")
    if isinstance(value, str):
        return {"T": True, "F": False}.get(value.strip().upper()[:1])
    return value if isinstance(value, bool) else None


def _pixscale(own: fits.Header, primary: fits.Header | None, record: Record) -> float | None:
    """PIXSCALE of an image without WCS, arcsec."""
    headers = [own] if primary is None or inherits(own) is False else [own, primary]
    for header in headers:
        if "PIXSCALE" not in header:
            continue
        value = header["PIXSCALE"]
        scale = to_number(value)
        where = "" if header is own else " of the primary header"
        if scale is None:
            record.warn(f"PIXSCALE = {value!r}{where} is no number; give pixel_scale=")
            continue
        if not MIN_SCALE_ARCSEC <= scale <= MAX_SCALE_ARCSEC:
            raise ValueError(
                f"PIXSCALE must be {MIN_SCALE_ARCSEC} to {MAX_SCALE_ARCSEC:g} arcsec per pixel; "
                f"got {scale:g}. Give pixel_scale=."
            )
        record.note(f'{scale:g}" a pixel from PIXSCALE{where}, North up, as there is no WCS')
        return scale
    return None


# -- where the parent image lies -------------------------------------------------------------------
def _parent(own: fits.Header, record: Record) -> tuple[int, int]:
    """The parent's pixel at which an image begins, from LTV (IRAF) or the WCS "A" of afw.

    IRAF: pixel = LTM parent + LTV, both counted from 1, so that parent = pixel - LTV counted from 0
    too where LTM is 1. afw: CRVALiA is the parent's pixel (from 0) of pixel CRPIXiA (from 1).
    """
    found: dict[str, list[float]] = {}
    ltv = [to_number(own.get(f"LTV{k}")) for k in (1, 2)]
    if any(v is not None for v in ltv):
        ltm = [to_number(own.get(f"LTM{k}_{k}", 1.0)) for k in (1, 2)]
        turned = [to_number(own.get(k, 0.0)) for k in ("LTM1_2", "LTM2_1")]
        if ltm != [1.0, 1.0] or any(turned):
            record.note(
                f"LTM1_1 = {ltm[0]:g}, LTM2_2 = {ltm[1]:g}: pixels are not those of the parent "
                "image, and LTV1, LTV2 are not used"
                if None not in ltm
                else "LTM1_1 or LTM2_2 is no number, and LTV1, LTV2 are not used"
            )
        else:
            found["LTV1, LTV2"] = [-(v or 0.0) for v in ltv]
    linear = all(
        str(own.get(f"CTYPE{k}A", "")).strip().upper() == "LINEAR"
        and str(own.get(f"CUNIT{k}A", "")).strip().upper() in ("PIXEL", "PIXELS", "PIX")
        for k in (1, 2)
    )
    start = [to_number(own.get(f"CRVAL{k}A")) for k in (1, 2)]
    if linear and None not in start:
        at = [to_number(own.get(f"CRPIX{k}A", 0.0)) or 0.0 for k in (1, 2)]
        found["CRVAL1A, CRVAL2A"] = [v + 1 - p for v, p in zip(start, at, strict=True)]
    for cards, place in list(found.items()):
        if any(abs(v - round(v)) > 1e-3 for v in place):
            record.note(f"{cards} put the first pixel between pixels of the parent image: not used")
            del found[cards]
    places = {cards: (round(x), round(y)) for cards, (x, y) in found.items()}
    if len(set(places.values())) > 1:
        (a, at_a), (b, at_b) = places.items()
        record.warn(
            f"{a} put the first pixel at {at_a} of the parent image and {b} at {at_b}: "
            f"{b} are taken"
        )
    if not places:
        return (0, 0)
    cards, parent = list(places.items())[-1]
    if parent != (0, 0):
        record.note(f"the first pixel is {parent} of the parent image (x, y from 0), by {cards}")
    return parent


# -- is it plausible? ------------------------------------------------------------------------------
def _check_geometry(
    wcs: WCS,
    own: fits.Header,
    primary: fits.Header | None,
    shape: tuple[int, int],
    record: Record,
) -> None:
    """Refuse pixels that no image has, and say what is unusual."""
    place = Placement(shape, wcs=wcs)
    ny, nx = shape
    scale = place.pixel_scale
    check_scale(scale)
    frame = Frame(place.sky_middle)
    jacobian = frame.jacobian(place, *place.middle)
    sides = np.linalg.svd(jacobian, compute_uv=False)
    if sides[0] > MAX_ELONGATION * sides[1]:
        (wx, wy), angle = np.linalg.norm(jacobian, axis=0), _axis_angle(jacobian)
        record.warn(
            f'pixels are {wx:.4g}" by {wy:.4g}" with axes {angle:.0f} deg apart; '
            "give wcs= or pixel_scale= if they are square"
        )
    corners = [(0, 0), (nx - 1, 0), (0, ny - 1), (nx - 1, ny - 1)]
    slopes = [frame.jacobian(place, *c) for c in corners]
    dets = np.array([np.linalg.det(m) for m in slopes if np.isfinite(m).all()])
    dets = dets / np.linalg.det(jacobian)
    if (dets <= 0).any():
        raise ValueError(
            "The WCS must not fold the image; got pixel axes that turn round between the middle "
            f"and a corner, which a wrong distortion does. {REMEDY}."
        )
    change = np.abs(np.log(dets)).max(initial=0.0) / 2
    if change > np.log1p(MAX_SCALE_CHANGE):
        record.warn(
            f"the pixel scale changes by {100 * np.expm1(change):.0f} % from the middle to a "
            "corner; give wcs= if the distortion is wrong"
        )
    _check_distance(wcs, place, record)
    for key, other in other_scales(own, primary).items():
        if abs(np.log(other / scale)) > np.log1p(2 * WITNESS_TOLERANCE):
            record.note(f'{key} says {other:.4g}" a pixel; the {scale:.4g}" of the WCS are taken')


def _axis_angle(jacobian: np.ndarray) -> float:
    """Angle between the pixel axes on the sky, degrees."""
    a, b = jacobian.T
    return float(np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))


def _check_distance(wcs: WCS, place: Placement, record: Record) -> None:
    """A tangent plane serves a few degrees."""
    if wcs.wcs.ctype[0][5:8] not in ("TAN", "TPV", "TNX"):
        return
    wx, wy = wcs.all_pix2world([place.middle[0]], [place.middle[1]], 0)
    i, j = wcs.wcs.lng, wcs.wcs.lat
    here, there = ((w[i], w[j]) for w in ((wx[0], wy[0]), wcs.wcs.crval))
    distance = SkyCoord(*here, unit="deg").separation(SkyCoord(*there, unit="deg")).deg
    if distance > NO_TAN_DISTANCE_DEG:
        raise ValueError(
            f"An image must lie near the reference point of its tangent plane; got {distance:.0f} "
            "deg. Correct CRPIX and the scale, or give wcs= or pixel_scale=."
        )
    if distance > MAX_TAN_DISTANCE_DEG:
        record.warn(
            f"the image lies {distance:.0f} deg from the reference point of its tangent plane; "
            "give wcs= or pixel_scale= if CRPIX is wrong"
        )
