"""Reader: how a family of files is recognised, and what its planes mean; subclass it for another.

A reader decides and says why; `bayesjoint.images.readers.read` makes an `Image` of what it found.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from astropy.io import fits
from scipy import ndimage

from bayesjoint.images.celestial import celestial
from bayesjoint.images.decisions import Decision
from bayesjoint.images.files import FitsFile, Plane, opened, tags
from bayesjoint.images.frame import Placement
from bayesjoint.images.noise import SENTINEL, estimate_sigma
from bayesjoint.images.planes import NOISE_KINDS
from bayesjoint.images.psf import PSF
from bayesjoint.images.readers import bands, photometry
from bayesjoint.images.readers.fpm import fpm_mask
from bayesjoint.images.readers.masks import Meaning, bad_pixels, checked_bits, meaning_of
from bayesjoint.images.readers.place import Place, place_of
from bayesjoint.units import to_float

__all__ = ["NOISES", "Reader", "Reading", "readers"]

NOISES = ("variance", "sigma", "ivar")
PLACES = ("wcs", "pixel_scale")
BRIGHT_SIGMA, BRIGHT_COUNT, BRIGHT_SHARE = 5.0, 20, 0.75
"""A mask plane that hides so large a share of so many pixels above so many sigma is named."""
DOUBTFUL_WEIGHT_FACTOR, WEIGHT_FACTOR = 1.6, 3.0
"""Ratio of a weight map's sigma to the pixels' own scatter from which on it is named, and refused."""
SIGMA_FACTOR = 10.0
"""The same for planes that say what they are, from which on it is said."""


@dataclass
class Reading:
    """What was read of a file.

    Parameters
    ----------
    arguments : dict
        Of `bayesjoint.Image`.
    decisions : list of Decision
        What was decided and why.
    missing : list of str
        What no image can be without and nothing gives: "noise", "place".
    family : str
        The reader's name.
    parent : (int, int)
        Pixel (x, y) of the original image, 0-based, at which this one begins.
    crop : (int, int)
        Pixel (x, y) of the WCS's image at which it begins.
    shift : (float, float)
        Arcsec East and North, of files that `Image.write` wrote.
    telescope : str or None
        With its instrument; None where the user names the band.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    family: str = ""
    parent: tuple[int, int] = (0, 0)
    crop: tuple[int, int] = (0, 0)
    shift: tuple[float, float] = (0.0, 0.0)
    telescope: str | None = None

    def decide(self, about: str, text: str, warning: bool = False) -> None:
        """Note a decision."""
        self.decisions.append(Decision(about, text, warning))


class Reader:
    """A family of files: says which are of it, and what their planes mean.

    A subclass is registered when it is defined, and asked before those of the package. Its
    `matches` must be narrow; its other methods replace what the usual layouts mean.

    Attributes
    ----------
    family : str
        Name, for ``bayesjoint info``.
    order : int
        Families are asked from the highest on.
    """

    family: ClassVar[str] = "FITS"
    order: ClassVar[int] = 100

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _REGISTRY.append(cls)

    def __init__(self, file: FitsFile, given: dict[str, Any]) -> None:
        self.file, self.given = file, given
        self.reading = Reading(family=self.family)
        self.trusted = True

    # -- what a family may say ---------------------------------------------------------------------
    @classmethod
    def matches(cls, file: FitsFile) -> bool:
        """Whether a file is of this family."""
        return False

    def science(self) -> Plane:
        """The plane that holds the image.

        Raises
        ------
        ValueError
            Where there is none, or several and the path names none.
        """
        named = self.file.named_plane()
        if named is not None:
            if not named.is_image:
                raise ValueError(
                    f"Extension {named.tag} of {self.file.label} must hold an image; it holds none. "
                    f"Name one of: {tags(self.images()) or 'none, the file has no image'}."
                )
            return named
        found = self.images()
        if not found:
            there = [p.name or type(p.hdu).__name__ for p in self.file.planes]
            raise ValueError(
                f"No image was found in {self.file.label}: expected pixels in the primary HDU or an "
                f"extension SCI; it holds {there}. Give a file with an image."
            )
        if len(found) > 1:
            path = self.file.address.file or "FILE.fits"
            name = pathlib.PurePath(path).name
            raise ValueError(
                f"{self.file.label} holds {len(found)} images: {tags(found)}. Name the one that is "
                f"meant after the path, as in {name}{found[0].tag}."
            )
        return found[0]

    def images(self) -> list[Plane]:
        """Planes that may be the image: what is called so; else the primary's and what has no name.

        An extension of another name than those of `bayesjoint.images.planes` is not meant,
        where there is another image.
        """
        held = [p for p in self.file.planes if p.is_image]
        primary = self.file.primary
        science = [p for p in held if p.kind == "science"]
        if primary.is_image and not primary.kind:
            nameless = [p for p in held if not p.kind and not p.name]
            return nameless if not science else [*nameless, *science]
        return science or [p for p in held if not p.kind] or held[:1]

    def partner(self, sci: Plane, kinds: Sequence[str]) -> Plane | None:
        """The plane of one of these kinds that belongs to an image: of the same group and version.

        Raises
        ------
        ValueError
            Where it cannot be told which of several belongs to it.
        """
        for kind in kinds:
            found = [
                p
                for p in self.file.planes
                if p is not sci and p.kind == kind and (p.is_image or p.constant is not None)
            ]
            if not found:
                continue
            same = [p for p in found if p.group == sci.group and p.version == sci.version]
            if len(same) > 1:  # as in image, invvar, image, invvar: the first after the image
                same = [p for p in same if p.index > sci.index][:1] or same[:1]
            if same:
                return same[0]
            if sci.kind != "science" and len(found) == 1 and not found[0].group:
                return found[0]
            if len(self.images()) == 1 and len(found) == 1:
                return found[0]
        return None

    def noise(self, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray] | None:
        """Kind ("variance", "sigma" or "ivar") and values of the noise; None where there is none."""
        plane = self.partner(sci, NOISE_KINDS)
        if plane is None:
            return None
        return self.noise_of(plane, sci, data)

    def noise_of(self, plane: Plane, sci: Plane, data: np.ndarray) -> tuple[str, np.ndarray]:
        """Kind and values of the noise that a plane holds."""
        kind = plane.kind
        if kind == "uncertainty":  # as astropy's CCDData writes it
            names = {"STD": "sigma", "STDDEVUNCERTAINTY": "sigma", "VARIANCEUNCERTAINTY": "variance"}
            names |= {"INVERSEVARIANCE": "ivar", "VAR": "variance", "IVAR": "ivar"}
            text = str(plane.header.get("UTYPE", "")).strip().upper()
            kind = "sigma" if not text else names.get(text)
            if kind is None:
                raise ValueError(
                    f"The uncertainty in {plane.tag} must be a standard deviation, variance or inverse "
                    f"variance; got UTYPE {text!r}. Give sigma=, variance= or ivar=."
                )
        if kind == "weight":
            kind = "ivar"
        values = np.asarray(plane.image(data.shape), float)
        self.reading.decide("noise", f"{kind} from {plane.tag}")
        return kind, values

    def meaning(self, plane: Plane, sci: Plane) -> Meaning | None:
        """What the values of a mask plane mean."""
        headers = (plane.header, plane.file.primary.header, sci.header, self.file.primary.header)
        return meaning_of(*headers, name=plane.name)

    def psf(self, sci: Plane) -> Any:
        """The PSF in the file; None where there is none."""
        plane = self.partner(sci, ("psf",))
        if plane is not None:
            return self._psf_hdu(plane)
        tables = [p.tag for p in self.file.planes if p.kind == "psf" and not p.is_image]
        if tables:
            text = f"extension {tables[0]} holds no image and is not taken; give psf="
            self.reading.decide("PSF", text, warning=True)
        return None

    def band(self, sci: Plane) -> tuple[str, list[Decision]]:
        """Band of an image."""
        return bands.band_of(sci.header, self._inherited(sci), self._name(sci))

    def calibration(self, sci: Plane, area: float | None) -> photometry.Calibration:
        """AB magnitude of one unit of an image whose pixels cover `area` steradian."""
        headers = sci.header, self._inherited(sci)
        return photometry.calibration(*headers, pixel_area_sr=area, wcs_trusted=self.trusted)

    # -- how a file is read ------------------------------------------------------------------------
    def examine(self) -> Reading:
        """Read the file: what `Image` needs, what was decided, and what is missing."""
        r, given, args = self.reading, self.given, self.reading.arguments
        sci = self.science()
        primary = self._inherited(sci)
        self._unparsable(sci)
        data = np.asarray(sci.image())
        if data.ndim != 2:
            raise ValueError(
                f"{sci.tag} of {self.file.label} must be an image of two axes; got shape {data.shape}. "
                "Name another extension."
            )
        if sci is not self.file.primary or len(self.file.planes) > 1:
            r.decide("pixels", f"from {sci.tag}")
        r.telescope = None if "band" in given else bands.identity(sci.header, primary) or None
        self._place(sci, data.shape)
        area = self._pixel_area(data.shape)
        self.trusted = not any(d.about == "place" and d.warning for d in r.decisions)
        calibration = self.calibration(sci, area)
        unit = calibration.unit
        if "zeropoint" not in given:
            args["zeropoint"] = calibration.zeropoint
            r.decisions += calibration.decisions
        hidden = self._noise(sci, data, unit)
        bad = self._mask(sci, data.shape)
        bad = self._zero_fill(data, sci, bad, hidden)
        args["mask"] = bad
        self._psf(sci)
        for key, find in (
            ("epoch", photometry.epoch_of), ("gain", photometry.gain_of),
            ("wavelength", photometry.wavelength_of),
        ):  # fmt: skip
            if key not in given:
                args[key] = find(sci.header, primary, r.decisions)
        if "band" not in given:
            args["band"], decisions = self.band(sci)
            r.decisions += decisions
        if "name" not in given:
            name = sci.header.get("BJNAME") or self._name(sci)
            args["name"] = bands.cleaned(name) if name else None
        for plane in {id(p): p for p in (sci, *self.file.planes)}.values():
            r.decisions += [d for d in plane.decisions if d not in r.decisions]
        args["data"] = data
        self._written_by_us(sci)
        return r

    def _name(self, sci: Plane) -> str | None:
        stem = self.file.stem
        if stem is None or self.file.address.extension is None or len(self.images()) < 2:
            return stem
        return f"{stem}_{sci.group or sci.tag.strip('[]').replace(',', '_')}"

    def _inherited(self, sci: Plane) -> fits.Header | None:
        """The primary header, for an image in an extension."""
        return None if sci is self.file.primary else self.file.primary.header

    def _unparsable(self, sci: Plane) -> None:
        bad = list(dict.fromkeys([*sci.unparsable, *self.file.primary.unparsable]))
        if bad:
            self.reading.decide(
                "pixels", f"card {', '.join(bad)} of the header cannot be parsed and is left out"
            )

    def _place(self, sci: Plane, shape: tuple[int, int]) -> None:
        r, given = self.reading, self.given
        crop = sci.offset
        if any(k in given for k in PLACES):
            r.parent = _parent(sci, crop)
            return
        place: Place = place_of(
            sci.header, self._inherited(sci), self.file.hdus, sci.shape[-2:], self.file.label
        )
        r.decisions += place.decisions
        r.parent = place.parent[0] + crop[0], place.parent[1] + crop[1]
        if place.wcs is not None:
            r.arguments["wcs"], r.crop = place.wcs, crop
        elif place.pixel_scale is not None:
            r.arguments["pixel_scale"] = place.pixel_scale
        else:
            r.missing.append("place")

    def _pixel_area(self, shape: tuple[int, int]) -> float | None:
        """Area of the middle pixel in steradian; None where the place is not known."""
        given, args = self.given, self.reading.arguments
        if "pixel_scale" in given:
            scale = to_float(given["pixel_scale"], "arcsec", "pixel_scale")
        elif "wcs" in given:
            scale = Placement(shape, wcs=celestial(given["wcs"], shape)[0]).pixel_scale
        elif "wcs" in args:
            scale = Placement(shape, wcs=args["wcs"], crop=self.reading.crop).pixel_scale
        elif "pixel_scale" in args:
            scale = args["pixel_scale"]
        else:
            return None
        return float((scale * u.arcsec).to_value(u.rad) ** 2)

    # -- noise
    def _noise(self, sci: Plane, data: np.ndarray, unit: u.UnitBase | None) -> np.ndarray:
        """Put the noise into the arguments; return which pixels its plane says have no data."""
        given, r = self.given, self.reading
        hidden = np.zeros(data.shape, bool)
        kind = next((k for k in NOISES if k in given), None)
        if kind is not None:
            value = given[kind]
            if isinstance(value, str | pathlib.Path) and value != "estimate":
                values = self._companion_noise(kind, value, sci, data, unit)
                r.arguments[kind] = self._checked_noise(kind, values, data, hidden, str(value))
            elif isinstance(value, u.Quantity):
                r.arguments[kind] = photometry.converted(value, _noise_unit(unit, kind), kind)
            else:
                r.arguments[kind] = value
            plane = self.partner(sci, NOISE_KINDS)
            if plane is not None:
                self._no_data(plane, data.shape, hidden)
            return hidden
        found = self.noise(sci, data)
        if found is None:
            r.missing.append("noise")
            return hidden
        kind, values = found
        plane = self.partner(sci, NOISE_KINDS)
        label = plane.tag if plane is not None else "the noise"
        weight = plane is not None and plane.kind == "weight"
        r.arguments[kind] = self._checked_noise(kind, values, data, hidden, label, weight)
        return hidden

    def _companion_noise(
        self, kind: str, path: Any, sci: Plane, data: np.ndarray, unit: Any
    ) -> np.ndarray:
        with opened(path) as other:
            plane = companion(other, {"variance": ("variance",), "sigma": ("sigma", "uncertainty"),
                                      "ivar": ("ivar", "weight")}[kind], kind)  # fmt: skip
            values = np.asarray(plane.image(data.shape), float)
            own = photometry.unit_of(plane.header)
            self.reading.decisions += plane.decisions
        values = self._cut(values, sci, data.shape, kind, path)
        differs = kind == "sigma" and own is not None and unit is not None and own != unit
        if differs and own.is_equivalent(unit):
            values = photometry.converted(values * own, unit, kind)
            self.reading.decide("noise", f"sigma of {path} converted from {own} to {unit}")
        self.reading.decide("noise", f"{kind} from {path}")
        return values

    def _cut(
        self, a: np.ndarray, sci: Plane, shape: tuple[int, int], what: str, path: Any
    ) -> np.ndarray:
        """Cut a companion of the whole image to the section that the path of the image names."""
        if a.shape != shape and self.file.address.section is not None and a.shape == sci.shape[-2:]:
            x0, y0 = sci.offset
            a = a[y0 : y0 + shape[0], x0 : x0 + shape[1]]
        if a.shape != shape:
            raise ValueError(
                f"{what} must have the shape of the image, {shape}; {path} has {a.shape}. Give the "
                "file that belongs to the image, or name its extension."
            )
        return a

    def _no_data(self, plane: Plane, shape: tuple[int, int], hidden: np.ndarray) -> None:
        """Pixels to which a plane of the file gives no weight have no data, whatever noise is given."""
        kind = {"weight": "ivar", "uncertainty": "sigma"}.get(plane.kind, plane.kind)
        try:
            values = np.asarray(plane.image(shape), float)
        except (OSError, ValueError):
            return
        if values.shape != shape:
            return
        empty = no_data(kind, values)
        if empty.any() and not empty.all():
            hidden |= empty
            self.reading.decide(
                "mask", f"{int(empty.sum())} pixels to which {plane.tag} gives no weight"
            )

    def _checked_noise(
        self,
        kind: str,
        values: np.ndarray,
        data: np.ndarray,
        hidden: np.ndarray,
        label: str,
        weight: bool = False,
    ) -> np.ndarray:
        """Count sentinels, and compare sigma with the pixels' own scatter."""
        if values.shape != data.shape:
            raise ValueError(
                f"{kind} must have the shape of the image, {data.shape}; {label} has {values.shape}. "
                f"Give {kind}= as an array or a file of that shape."
            )
        r = self.reading
        empty = no_data(kind, values)
        if empty.all():
            return values  # refused by Image, in words
        if empty.any():
            r.decide("mask", f"{int(empty.sum())} pixels to which {label} gives no weight")
            hidden |= empty
        ok = ~empty & np.isfinite(data)
        ok[ok] = data[ok] != 0 if (data[ok] == 0).mean() > 0.2 else True
        if ok.sum() < 100:
            return np.where(empty, np.nan, values)
        middle = float(np.median(values[ok]))
        sigma = {"sigma": middle, "variance": np.sqrt(abs(middle))}.get(kind)
        sigma = abs(middle) ** -0.5 if sigma is None and middle != 0 else sigma
        try:
            scatter = estimate_sigma(np.where(ok, data, 0.0).astype(float), ok)
        except ValueError:
            return np.where(empty, np.nan, values)
        if not sigma or middle < 0:
            return np.where(empty, np.nan, values)
        ratio = sigma / scatter
        limit = DOUBTFUL_WEIGHT_FACTOR if weight else SIGMA_FACTOR
        if not 1 / limit < ratio < limit:
            text = (
                f"{label} taken as {kind} means sigma {sigma:.3g} a pixel, {ratio:.3g} times the "
                f"scatter of neighbouring pixels, {scatter:.3g}"
            )
            if weight and not 1 / WEIGHT_FACTOR < ratio < WEIGHT_FACTOR:
                raise ValueError(
                    f"{text}: it is no inverse variance, but perhaps exposure time or a relative "
                    "weight. Give sigma=, variance= or ivar=, or measure the noise with "
                    "variance='estimate'."
                )
            r.decide("noise", f"{text}; check that it is {kind}", warning=True)
        return np.where(empty, np.nan, values)

    # -- mask
    def _mask(self, sci: Plane, shape: tuple[int, int]) -> np.ndarray:
        """Pixels that the file's mask, or the one given, says are bad."""
        given, r = self.given, self.reading
        bits = checked_bits(given.get("bad_bits"))
        bad = np.zeros(shape, bool)
        if "mask" in given:
            value = given["mask"]
            if value is None:
                if bits is not None:
                    raise ValueError(
                        "bad_bits chooses bits of a mask; got mask=None. Leave one of them out."
                    )
                return bad
            if isinstance(value, str | pathlib.Path):
                name = pathlib.PurePath(str(value)).name
                with opened(value) as other:
                    spans = fpm_mask(other)
                    if spans is not None:
                        values, meaning = spans
                        x0, y0 = r.parent
                        values = values[y0 : y0 + shape[0], x0 : x0 + shape[1]]
                    else:
                        plane = companion(other, ("mask",), "mask")
                        values, meaning = plane.image(shape), self.meaning(plane, sci)
                    values = self._cut(values, sci, shape, "mask", value)
                    found = bad_pixels(values, meaning, bits, name)
                r.decisions += found[1]
                return found[0]
            value = np.asarray(value)
            if value.shape != shape:
                raise ValueError(
                    f"mask must have the shape of the image, {shape}; got {value.shape}. Give one "
                    "value a pixel, True where it is ignored."
                )
            if bits is not None:
                found = bad_pixels(value, None, bits, "mask")
                r.decisions += found[1]
                return found[0]
            return value.astype(bool)
        plane = self.partner(sci, ("mask",))
        if plane is None:
            if bits is not None:
                raise ValueError(
                    f"bad_bits chooses bits of a mask, and {self.file.label} has none. Give mask=, or "
                    "leave bad_bits out."
                )
            return bad
        values = plane.image(shape)
        if values.shape != shape:
            raise ValueError(
                f"The mask {plane.tag} must have the shape of the image, {shape}; got {values.shape}. "
                "Give mask= as an array or a file of that shape."
            )
        found = bad_pixels(values, self.meaning(plane, sci), bits, plane.tag)
        r.decisions += found[1]
        return found[0]

    def _zero_fill(
        self, data: np.ndarray, sci: Plane, bad: np.ndarray, hidden: np.ndarray
    ) -> np.ndarray:
        """Add the pixels without data to the mask, and say where a mask hides what is bright."""
        r = self.reading
        bad_by_mask = bad.copy()
        nan = ~np.isfinite(data)
        if nan.any():
            r.decide("mask", f"{int(nan.sum())} pixels are not finite")
        filled, values = filled_blocks(data, bad | hidden)
        if filled.any():
            shown = " or ".join(f"{v:g}" for v in values)
            r.decide("mask", f"{int(filled.sum())} pixels in blocks of exactly {shown}: no data")
        self._bright(data, bad_by_mask, hidden | nan | filled)
        return bad | hidden | filled

    def _bright(self, data: np.ndarray, bad: np.ndarray, empty: np.ndarray) -> None:
        """Say where a mask hides most of what is bright."""
        if not bad.any():
            return
        ok = ~empty & np.isfinite(data)
        if ok.sum() < 100:
            return
        try:
            s = estimate_sigma(np.where(ok, data, 0.0).astype(float), ok)
        except ValueError:
            return
        smooth = ndimage.uniform_filter(np.where(ok, data - np.median(data[ok]), 0.0), 3)
        bright = ok & (smooth > BRIGHT_SIGMA * s)
        count = int(bright.sum())
        share = float(bad[bright].mean()) if count else 0.0
        if count >= BRIGHT_COUNT and share > BRIGHT_SHARE:
            self.reading.decide(
                "mask",
                f"the mask hides {100 * share:.0f} % of the {count} pixels above {BRIGHT_SIGMA:g} "
                "sigma: it may mark detected objects, or the pixels to use, rather than bad ones; invert it "
                "(mask= as an array), choose its bits with bad_bits=, or drop it with mask=None",
                warning=True,
            )

    # -- PSF
    def _psf(self, sci: Plane) -> None:
        from bayesjoint.images import psf_files

        given, r = self.given, self.reading
        scale = None
        area = self._pixel_area(sci.shape[-2:])
        if area is not None:
            scale = float(np.sqrt(area) * u.rad.to(u.arcsec))
        if "psf" in given:
            value = given["psf"]
            if isinstance(value, str | pathlib.Path):
                band = given.get("band") or self.band(sci)[0]
                options = {"pixel_scale": scale, "origin": r.parent, "band": band}
                options["oversampling"] = given.get("psf_oversampling")
                try:
                    value, decisions = psf_files.inspect(value, **options)
                except ValueError as e:
                    if str(given["psf"]) in str(e):
                        raise
                    raise ValueError(f"{given['psf']}: {e}") from e
                r.decisions += decisions
                r.decide("PSF", f"from {given['psf']}")
                if getattr(value, "varies", False) and r.parent != (0, 0):
                    r.decide("PSF", f"pixel (0, 0) of the image is {r.parent} of the PSF's frame")
            elif isinstance(value, PSF) and value.varies:
                untold = tuple(value.origin) == (0, 0)
                value = value.cropped(*(r.parent if untold else sci.offset))
                if untold and r.parent != (0, 0):
                    r.decide("PSF", f"pixel (0, 0) of the image is {r.parent} of the PSF's frame")
            r.arguments["psf"] = value
            return
        found = self.psf(sci)
        if found is not None:
            r.arguments["psf"] = found

    def _psf_hdu(self, plane: Plane) -> Any:
        from bayesjoint.images import psf_files

        area = self._pixel_area(self.file.primary.shape[-2:] or (1, 1))
        scale = None if area is None else float(np.sqrt(area) * u.rad.to(u.arcsec))
        psf, decisions = psf_files.from_hdu(plane.hdu, pixel_scale=scale, hdus=self.file.hdus)
        self.reading.decisions += decisions
        return psf

    def _written_by_us(self, sci: Plane) -> None:
        given = {*PLACES, "center", "origin"} & set(self.given)
        if not given and ("BJSHIFTX" in sci.header or "BJSHIFTY" in sci.header):
            h = sci.header
            self.reading.shift = float(h.get("BJSHIFTX", 0.0)), float(h.get("BJSHIFTY", 0.0))


_REGISTRY: list[type[Reader]] = []


def readers() -> list[type[Reader]]:
    """All families, in the order in which they are asked: the user's first."""
    return sorted(_REGISTRY, key=lambda c: (-c.order, -_REGISTRY.index(c)))


def _parent(sci: Plane, crop: tuple[int, int]) -> tuple[int, int]:
    """Pixel of the original image at which an image begins, by LTV1 and LTV2."""
    values = [sci.header.get(k, 0) for k in ("LTV1", "LTV2")]
    ok = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    ltv = [round(-v) for v in values] if ok else [0, 0]
    return ltv[0] + crop[0], ltv[1] + crop[1]


def _noise_unit(unit: u.UnitBase | None, kind: str) -> u.UnitBase | None:
    if unit is None:
        return None
    return {"sigma": unit, "variance": unit**2, "ivar": unit**-2}[kind]


def companion(other: FitsFile, kinds: Sequence[str], what: str) -> Plane:
    """The plane of a companion file that holds a kind of thing.

    It is what the path names, else the only image, else the plane of that name.

    Raises
    ------
    ValueError
        Where it cannot be told.
    """
    named = other.named_plane()
    if named is not None:
        if not named.is_image and named.constant is None:
            raise ValueError(
                f"{what} must be an image; extension {named.tag} of {other.address.file} is none. "
                "Name another extension."
            )
        return named
    held = [p for p in other.planes if p.is_image or p.constant is not None]
    fitting = [p for p in held if p.kind in kinds]
    for found in (fitting, held):
        if len(found) == 1:
            return found[0]
        if found:
            break
    if not held:
        raise ValueError(
            f"{what} must be an image; {other.address.file} holds none. Give another file."
        )
    raise ValueError(
        f"{what} must be one image; {other.address.file} holds {tags(held)}. Name the one that is "
        f"meant, as in {pathlib.PurePath(other.address.file).name}{held[0].tag}."
    )


def no_data(kind: str, values: np.ndarray) -> np.ndarray:
    """Pixels whose noise is a sentinel: not finite, no weight, or beyond any noise (1e30).

    Negative values are left: they are refused or named by what makes an `Image`.
    """
    finite = np.isfinite(values)
    if kind == "ivar":
        return ~finite | (values == 0)
    positive = values[finite & (values > 0)]
    if not positive.size:
        return np.zeros(values.shape, bool)
    power = 2 if kind == "variance" else 1
    floor = float(np.percentile(positive, 1))
    return ~finite | (values == 0) | (values > floor * SENTINEL**power)


def filled_blocks(data: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Pixels in blocks of one value, beside pixels that differ: what lies beyond a mosaic's edge.

    The value is 0, the smallest or the largest of all. Whole numbers (counts) are left alone, and
    light without noise that fades to 0.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
    known : ndarray of bool
        Pixels that are masked already.

    Returns
    -------
    filled : ndarray of bool
    values : list of float
        Those with which blocks are filled.
    """
    out, values = np.zeros(data.shape, bool), []
    usable = np.isfinite(data) & ~known
    if data.dtype.kind != "f" or usable.sum() < 18:
        return out, values
    for value in dict.fromkeys((0.0, float(data[usable].min()), float(data[usable].max()))):
        same = (data == value) & usable
        other = usable & ~same & ~out
        if same.sum() < 9 or other.sum() < 9 or (data[other] == np.round(data[other])).all():
            continue
        labels, _ = ndimage.label(same, np.ones((3, 3)))
        blocks = np.unique(labels[ndimage.binary_erosion(same, np.ones((3, 3)))])
        block = np.isin(labels, blocks[blocks > 0]) & (labels > 0)
        edge = ndimage.binary_dilation(block, np.ones((3, 3))) & other
        scale = float(np.abs(data[other] - value).max())
        if not edge.any() or np.median(np.abs(data[edge] - value)) < 1e-6 * scale:
            continue
        out |= block
        values.append(value)
    return out, values


SIBLINGS = (
    (r"-img-", ("-invvar-", "-std-", "-msk-")),
    (r"_ooi_", ("_oow_", "_ood_")),
    (r"_osi_", ("_osw_", "_osd_")),
    (r"-image-", ("-invvar-",)),
    (r"(image|_sci|_drz|_img)", ("weight", "invvar", "wht", "rms", "err", "sigma", "var")),
    (r"(?=\.fits)", ("_err", "_rms", "_sigma", "_weight", "_wht", ".weight", "_W", ".wt", "_var",
                     "_invvar", "_ivar")),
)  # fmt: skip


def sibling(path: str, most: int = 3) -> list[str]:
    """Files beside an image whose names suggest that they hold its noise."""
    here = pathlib.Path(path).expanduser()
    if "://" in path or not here.is_file():
        return []
    found: list[str] = []
    for pattern, words in SIBLINGS:
        if not re.search(pattern, here.name):
            continue
        for word in words:
            for suffix in ("", ".gz", ".fz"):
                name = re.sub(pattern, lambda m, w=word: ("_" if m[0].startswith("_") and w[0] not in "_-." else "") + w, here.name, count=1)
                other = here.with_name(re.sub(r"\.(gz|fz)$", "", name) + suffix)
                if other != here and other.is_file() and str(other) not in found:
                    found.append(str(other))
    return found[:most]
