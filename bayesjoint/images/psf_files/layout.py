"""bayesjoint's own layout: a PSF, constant or varying, in one HDU that reads back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits

from bayesjoint.images.files import Plane
from bayesjoint.images.psf import PSF, VaryingPSF
from bayesjoint.images.psf_field import CellField, GridField, PolynomialField
from bayesjoint.images.psf_files.base import PSFFile, planes_meant
from bayesjoint.images.psf_files.sampling import parse_factors, pixel_response

__all__ = ["Written", "on_grid", "to_hdu"]

CARD = "BJPSF"
KINDS = ("CONSTANT", "POLYNOMIAL", "GRID", "CELLS")
WORDS = {None: "OPTICAL", "subpixel": "SUBPIXEL", "native": "NATIVE"}


def to_hdu(psf: PSF, name: str = "PSF") -> fits.ImageHDU | fits.BinTableHDU:
    """Put a PSF into an HDU, from which `from_hdu` and `PSF.read` make the same PSF again.

    Parameters
    ----------
    psf : PSF
        A constant one, or a varying one of a polynomial, a grid or cells.
    name : str
        EXTNAME.

    Returns
    -------
    ImageHDU
        Of a constant PSF: its samples, with the cards OVERSAMP, PIXRESP and PSFNORM.
    BinTableHDU
        Of a varying one: a row a component (XPOWER, YPOWER), a place (X, Y) or a cell (X_LO, X_HI,
        Y_LO, Y_HI), and its samples (STAMP).

    Raises
    ------
    ValueError
        For a PSF that a function gives: sample it with `on_grid` first.
    """
    header = fits.Header()
    header[CARD] = "CONSTANT", "bayesjoint's layout of a PSF"
    header["OVERSAMP"] = _exact(psf.oversampling), "samples per image pixel (y,x)"
    header["PIXRESP"] = WORDS[psf.pixel_response], "whose pixel's response is in it"
    header["PSFNORM"] = psf.normalize, "whether it is divided by its sum"
    if not isinstance(psf, VaryingPSF):
        return fits.ImageHDU(np.array(psf.array), header, name=name)
    field = psf.field
    header["BJORIGX"] = _exact(psf.origin[0]), "pixel x of its frame at which the image begins"
    header["BJORIGY"] = _exact(psf.origin[1]), "pixel y"
    limits: Any = None
    if isinstance(field, PolynomialField):
        header[CARD] = "POLYNOMIAL"
        for axis, zero, scale in zip("XY", field.zero, field.scale, strict=True):
            header[f"BJZERO{axis}"] = (
                _exact(zero),
                f"{axis.lower()} at which all but the constant vanish",
            )
            header[f"BJSCAL{axis}"] = _exact(scale), f"unit of {axis.lower()}, pixels"
        powers = np.array(field.exponents)
        columns = {"XPOWER": powers[:, 0], "YPOWER": powers[:, 1], "STAMP": field.components}
        limits = field.limits
    elif isinstance(field, GridField):
        header[CARD] = "GRID"
        x, y = np.meshgrid(field.x, field.y)
        stamps = field.stamps.reshape(-1, *field.stamps.shape[2:])
        columns = {"X": x.ravel(), "Y": y.ravel(), "STAMP": stamps}
    elif isinstance(field, CellField):
        header[CARD] = "CELLS"
        edges = dict(zip(("X_LO", "X_HI", "Y_LO", "Y_HI"), field.bounds.T, strict=True))
        columns = {**edges, "STAMP": field.stamps}
    else:
        raise ValueError(
            f"A varying PSF must be a polynomial, a grid or cells to be written; got {field!r}. "
            "Sample it at places of a grid first: image.replace(psf=bayesjoint.images.psf_files."
            "on_grid(image.psf, x, y))."
        )
    for axis, ends in zip("XY", limits or (), strict=False):
        header[f"BJLIM{axis}1"], header[f"BJLIM{axis}2"] = map(_exact, ends)
    return fits.BinTableHDU.from_columns(
        [_column(key, np.asarray(value)) for key, value in columns.items()], header, name=name
    )


def on_grid(psf: PSF, x: Sequence[float], y: Sequence[float]) -> VaryingPSF:
    """Sample a varying PSF on a grid of places, bilinear between them.

    Parameters
    ----------
    psf : PSF
    x, y : sequence of float
        The grid's columns and rows, in 0-based pixels of the image.

    Returns
    -------
    VaryingPSF
        Of a `GridField`, in the image's own frame.
    """
    places = [(float(i), float(j)) for j in y for i in x]
    field = GridField([psf.at(*p).array for p in places], places)
    return VaryingPSF(
        field,
        oversampling=psf.sampling,
        pixel_response=psf.pixel_response,
        normalize=psf.normalize,
    )


class Written(PSFFile):
    """A PSF in bayesjoint's own layout."""

    kind = "bayesjoint"
    order = 90

    @classmethod
    def matches(cls, source: Any) -> bool:
        """Whether an HDU has the card BJPSF."""
        return any(CARD in p.header for p in planes_meant(source))

    def read(self) -> PSF:
        """The PSF that was written."""
        plane = next(p for p in planes_meant(self.file) if CARD in p.header)
        h = plane.header
        kind = str(h.get(CARD, "CONSTANT")).strip()
        if kind not in KINDS:
            raise ValueError(
                f"{CARD} must be one of {', '.join(KINDS)}; got {kind!r}. A newer bayesjoint may "
                "read it."
            )
        stated = parse_factors(h["OVERSAMP"], "OVERSAMP") if "OVERSAMP" in h else (1.0, 1.0)
        sampling = self.options.oversampling or stated
        response = pixel_response(h)
        normalize = bool(h.get("PSFNORM", True))
        self.say(f"written by bayesjoint, {kind.lower()}")
        if kind == "CONSTANT":  # already divided by its sum: not once more, for the last digit
            raw = not normalize and "PSFNORM" not in h
            psf = self.constant(plane.image(), sampling, response, normalize=raw)
            psf.normalize = self.options.normalize and normalize
            return psf
        origin = tuple(_read(h[k]) for k in ("BJORIGX", "BJORIGY"))
        psf = self.varying(self._field(kind, plane), sampling, response, normalize)
        return psf.cropped(*origin)

    def _field(self, kind: str, plane: Plane) -> Any:
        h, rows = plane.header, plane.hdu.data
        stamps = np.asarray(rows["STAMP"], dtype=float)
        if kind == "GRID":
            return GridField(stamps, np.stack([rows["X"], rows["Y"]], 1))
        if kind == "CELLS":
            return CellField(
                stamps, np.stack([rows[k] for k in ("X_LO", "X_HI", "Y_LO", "Y_HI")], 1)
            )
        ends = [(h.get(f"BJLIM{a}1"), h.get(f"BJLIM{a}2")) for a in "XY"]
        known = all(v is not None for pair in ends for v in pair)
        powers = [(int(i), int(j)) for i, j in zip(rows["XPOWER"], rows["YPOWER"], strict=True)]
        zero, scale = (tuple(_read(h[f"{k}{a}"]) for a in "XY") for k in ("BJZERO", "BJSCAL"))
        limits = tuple((_read(lo), _read(hi)) for lo, hi in ends) if known else None
        return PolynomialField(stamps, powers, zero, scale, limits)


def _exact(value: Any) -> int | float | str:
    """A number as a card that gives it back to the last digit: FITS's own have 16."""
    if isinstance(value, tuple):
        return ",".join(repr(float(v)) for v in value)
    if isinstance(value, int):
        return value
    return float(value) if float(f"{value:.16G}") == value else repr(float(value))


def _read(value: Any) -> float:
    return float(value)


def _column(name: str, values: np.ndarray) -> fits.Column:
    if np.issubdtype(values.dtype, np.integer):
        return fits.Column(name, "K", array=values)
    if values.ndim == 1:
        return fits.Column(name, "D", array=values)
    ny, nx = values.shape[1:]
    return fits.Column(
        name, f"{ny * nx}D", dim=f"({nx},{ny})", array=np.asarray(values, dtype=float)
    )
